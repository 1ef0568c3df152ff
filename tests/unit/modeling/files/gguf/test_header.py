import struct

import pytest

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import is_gguf, read_header

STRING, ARRAY, UINT32, F32 = 8, 9, 4, 0


def text(value):
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content)) + content


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def tensor(name, shape, offset, kind=F32):
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def file_of(tmp_path, *, keys=(), tensors=(), data=b"", version=3, counts=None):
    keys, tensors = list(keys), list(tensors)
    counted = counts or (len(tensors), len(keys))
    header = b"GGUF" + struct.pack("<IQQ", version, *counted) + b"".join(keys) + b"".join(tensors)
    header += b"\0" * (-len(header) % 32)
    file = tmp_path / "x.gguf"
    file.write_bytes(header + data)
    return file


def test_keys_and_tensors_are_read(tmp_path):
    numbers = struct.pack("<IQ3I", UINT32, 3, 7, 8, 9)
    file = file_of(
        tmp_path,
        keys=[key("a.b", STRING, text("h\u00e9")), key("c", ARRAY, numbers)],
        tensors=[tensor("w", (2, 4), 0), tensor("v", (3,), 32)],
        data=bytes(64),
    )

    header = read_header(file)

    assert header.metadata == {"a.b": "h\u00e9", "c": [7, 8, 9]}
    assert {name: (each.shape, each.end - each.begin) for name, each in header.tensors.items()} == {
        "w": ((2, 4), 32),
        "v": ((3,), 12),
    }
    assert is_gguf(file)


HUGE = struct.pack("<Q", 2**62)
BAD = {
    "another format": ({"version": 0x03000000}, "big-endian"),
    "an older version": ({"version": 1}, "version 1"),
    "a newer version": ({"version": 4}, "version 4"),
    "endless keys": ({"counts": (0, 2**60)}, "metadata keys"),
    "endless tensors": ({"counts": (2**60, 0)}, "tensors"),
    "more keys than there are": ({"counts": (0, 4_000)}, "cut off"),
    "a huge name": ({"keys": [HUGE]}, "name of a metadata key"),
    "a huge text": ({"keys": [text("k") + struct.pack("<I", STRING) + HUGE]}, "value of 'k'"),
    "a text beyond the end": ({"keys": [key("k", STRING, struct.pack("<Q", 2**20))]}, "cut off"),
    "an endless list": ({"keys": [key("k", ARRAY, struct.pack("<I", UINT32) + HUGE)]}, "items in 'k'"),
    "a list of lists": ({"keys": [key("k", ARRAY, struct.pack("<IQ", ARRAY, 1))]}, "type 9"),
    "a list beyond the end": ({"keys": [key("k", ARRAY, struct.pack("<IQ", UINT32, 10**6))]}, "cut off"),
    "a value of no type": ({"keys": [key("k", 77, b"")]}, "type 77"),
    "no text": ({"keys": [key("k", STRING, text(b"\xff\xfe"))]}, "UTF-8"),
    "a key twice": ({"keys": [key("k", STRING, text("a"))] * 2}, "'k' twice"),
    "an odd alignment": (
        {"keys": [key("general.alignment", UINT32, struct.pack("<I", 33))]},
        "power of two",
    ),
    "no alignment": ({"keys": [key("general.alignment", UINT32, struct.pack("<I", 0))]}, "power of two"),
    "no dimensions": ({"tensors": [tensor("w", (), 0)]}, "0 dimensions"),
    "too many dimensions": ({"tensors": [tensor("w", (1,) * 9, 0)]}, "9 dimensions"),
    "an empty tensor": ({"tensors": [tensor("w", (0, 3), 0)]}, "shape"),
    "an endless tensor": ({"tensors": [tensor("w", (2**62, 2**62), 0)]}, "shape"),
    "a tensor beyond the end": ({"tensors": [tensor("w", (64,), 0)], "data": bytes(64)}, "would end at"),
    "an offset beyond the end": ({"tensors": [tensor("w", (1,), 2**62)], "data": bytes(64)}, "would end at"),
    "an odd offset": ({"tensors": [tensor("w", (1,), 4)], "data": bytes(64)}, "multiple of 32"),
    "a tensor twice": ({"tensors": [tensor("w", (1,), 0), tensor("w", (1,), 32)], "data": bytes(64)}, "'w' twice"),
    "tensors one over the other": (
        {"tensors": [tensor("w", (16,), 0), tensor("v", (8,), 32)], "data": bytes(64)},
        "'v' overlaps",
    ),
    "values of no type": ({"tensors": [tensor("w", (1,), 0, 999)], "data": bytes(64)}, "type 999"),
    "half a block": ({"tensors": [tensor("w", (40,), 0, 2)], "data": bytes(64)}, "blocks of 32"),
}


@pytest.mark.parametrize("case", BAD)
def test_damaged_and_hostile_files_are_refused_with_a_sentence(case, tmp_path):
    how, said = BAD[case]

    with pytest.raises(BaseUnusable, match=said):
        read_header(file_of(tmp_path, **how))


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path):
    file = file_of(
        tmp_path, keys=[key("a", STRING, text("b"))], tensors=[tensor("w", (2, 4), 0)], data=bytes(range(32))
    )
    whole = file.read_bytes()

    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(BaseUnusable):
            read_header(file)


def test_other_files_are_none(tmp_path):
    (tmp_path / "x").write_bytes(b"PK\x03\x04" * 20)

    assert not is_gguf(tmp_path / "x")
    assert not is_gguf(tmp_path / "missing")
    with pytest.raises(BaseUnusable, match="no GGUF file"):
        read_header(tmp_path / "x")
    with pytest.raises(BaseUnusable, match="cannot be read"):
        read_header(tmp_path / "missing")
