import random
import shutil

from gguf_writing import small_llama
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.conversion import convert

MUTATIONS = 400


def mutated(content, chance):
    """The file with a few bytes of its header changed, or a part of it gone, doubled or full of ones."""
    header = content.index(b"blk.0.attn_norm") if chance.random() < 0.5 else len(content)
    changed = bytearray(content)
    match chance.randrange(4):
        case 0:
            for _ in range(chance.randint(1, 4)):
                changed[chance.randrange(4, header)] = chance.randrange(256)
        case 1:
            place = chance.randrange(8, header)
            changed[place : place + 8] = chance.choice([b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little")])
        case 2:
            place = chance.randrange(8, header)
            del changed[place : place + chance.randint(1, 64)]
        case 3:
            place = chance.randrange(8, header)
            changed[place:place] = changed[place : place + chance.randint(1, 64)]
    return bytes(changed)


def test_every_damaged_file_is_converted_or_refused_with_a_sentence(tmp_path):
    whole = small_llama(tmp_path).read_bytes()
    chance = random.Random(7)
    refused = 0

    for number in range(MUTATIONS):
        file, into = tmp_path / "mutated.gguf", tmp_path / f"into-{number}"
        file.write_bytes(mutated(whole, chance))
        into.mkdir()
        try:
            convert(file, into, lambda *_: None)
        except BaseUnusable:
            refused += 1
        shutil.rmtree(into)

    assert refused > MUTATIONS / 2
