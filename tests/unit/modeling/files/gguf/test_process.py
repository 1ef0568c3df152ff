import threading

import pytest

from gguf_writing import small_llama
from patience import PATIENCE_SECONDS
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.process import Limits, convert_gguf

FILES = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return small_llama(tmp_path_factory.mktemp("gguf"))


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_becomes_a_directory_and_the_end_is_told(file, tmp_path):
    told = []

    convert_gguf(file, tmp_path / "models" / "small", lambda *amount: told.append(amount))

    assert names_in(tmp_path / "models" / "small") == FILES
    assert names_in(tmp_path / "models") == [".small.lock", "small"]
    assert told[-1][0] == told[-1][1] > 0


def test_what_is_there_is_not_made_again(file, tmp_path):
    convert_gguf(file, tmp_path / "small", lambda *_: None)
    made = (tmp_path / "small" / "model.safetensors").stat()
    told = []

    convert_gguf(file, tmp_path / "small", lambda *amount: told.append(amount))

    assert told == []
    assert (tmp_path / "small" / "model.safetensors").stat() == made


def test_of_several_at_once_one_converts_and_all_have_it(file, tmp_path):
    told = {number: [] for number in range(3)}

    def convert(number):
        convert_gguf(file, tmp_path / "small", lambda *amount: told[number].append(amount))

    threads = [threading.Thread(target=convert, args=(number,)) for number in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert sum(bool(amounts) for amounts in told.values()) == 1
    assert names_in(tmp_path / "small") == FILES


def test_what_an_interrupted_conversion_left_is_removed(file, tmp_path):
    left = tmp_path / ".small.abc.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")

    convert_gguf(file, tmp_path / "small", lambda *_: None)

    assert names_in(tmp_path) == [".small.lock", "small"]


def test_a_refused_file_leaves_nothing_and_is_named(file, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:-64])

    with pytest.raises(BaseUnusable, match=r"broken\.gguf cannot be a base model: it has .* was cut off"):
        convert_gguf(broken, tmp_path / "models" / "broken", lambda *_: None)

    assert names_in(tmp_path / "models") == [".broken.lock"]


def test_numbers_that_are_none_are_refused(file, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:-4] + b"\xff" * 4)

    with pytest.raises(BaseUnusable, match="not finite numbers"):
        convert_gguf(broken, tmp_path / "broken", lambda *_: None)


def test_a_conversion_beyond_its_memory_is_ended(tmp_path):
    (tmp_path / "made").mkdir()
    file = small_llama(tmp_path / "made", change=lambda writer: writer.add_description("x" * 2**25))

    with pytest.raises(BaseUnusable, match=r"small\.gguf cannot be a base model: .*0\.000977 GiB of memory"):
        convert_gguf(file, tmp_path / "models" / "small", lambda *_: None, limits=Limits(memory_bytes=2**20))

    assert names_in(tmp_path / "models") == [".small.lock"]
