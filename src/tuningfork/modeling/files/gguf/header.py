"""Reads the header of a GGUF file: its metadata, and where each tensor is. Tensors themselves are not read.

The header comes from anybody, so every count and length is compared with a limit and with what is left of the file
before anything is made of it.

The format: magic, version, counts; the metadata; the tensors' names, shapes, types and offsets; the tensors (GGUF
specification, docs/gguf.md of ggml).
"""

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuningfork.domain.errors import BaseUnusable

MAGIC = b"GGUF"

Scalar = str | int | float | bool
Value = Scalar | list[str] | list[int] | list[float] | list[bool]

_MOST_KEYS, _MOST_TENSORS = 4_096, 65_536
_MOST_NAME_BYTES, _MOST_TEXT_BYTES = 1_024, 2**26
_MOST_ITEMS = 4_000_000
"""The most items of a list. The largest vocabularies have 262,144 tokens and 500,000 merges."""
_MOST_HEADER_BYTES = 2**28
_MOST_DIMENSIONS, _MOST_ELEMENTS = 4, 2**48

_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
"""The types of numbers in the metadata, as `struct` writes them (`gguf_metadata_value_type`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor of a GGUF file: its rows and columns as torch orders them, its type, and the offsets of its bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    """The number of its type (`ggml_type`)."""
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata of a GGUF file by key, and its tensors by name."""

    metadata: dict[str, Value]
    tensors: dict[str, StoredTensor]


def is_gguf(file: Path) -> bool:
    """Whether this is a file that begins as GGUF files do, whatever its name."""
    try:
        with file.open("rb") as read:
            return read.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_header(file: Path, size: int | None = None) -> Header:
    """Read the header of a GGUF file.

    Args:
        file: the file.
        size: the bytes that it will have; None: those that it has.

    Raises:
        BaseUnusable: it is no such file, is damaged, or has more of something than any model has.

    """
    try:
        with file.open("rb") as read:
            return _Reader(read, os.fstat(read.fileno()).st_size if size is None else size).header()
    except OSError as error:
        raise BaseUnusable(f"the file cannot be read: {error.strerror}") from error


class _Reader:
    """Reads from the beginning of a file of `size` bytes, never beyond its end."""

    def __init__(self, read: BinaryIO, size: int) -> None:
        self._read, self._size, self._place = read, size, 0

    def header(self) -> Header:
        if self._take(len(MAGIC)) != MAGIC:
            raise BaseUnusable("it is no GGUF file: its first four bytes are not GGUF")
        version = self._number("I")
        if version not in (2, 3):
            if version and not version & 0xFFFF:
                raise BaseUnusable("it is a big-endian GGUF file; convert the model to a little-endian one")
            raise BaseUnusable(f"it has version {version} of the GGUF format, and 2 and 3 can be read")
        tensors = self._count("tensors", _MOST_TENSORS)
        keys = self._count("metadata keys", _MOST_KEYS)
        metadata: dict[str, Value] = {}
        for _ in range(keys):
            key = self._text("the name of a metadata key", _MOST_NAME_BYTES)
            if key in metadata:
                raise BaseUnusable(f"it has the metadata key {key!r} twice")
            metadata[key] = self._value(key, self._number("I"))
        described = [self._tensor() for _ in range(tensors)]
        return Header(metadata, self._placed(described, self._alignment(metadata)))

    def _take(self, length: int) -> bytes:
        if length > self._size - self._place:
            raise BaseUnusable("it ends before its header does: it was cut off, or is damaged")
        if self._place + length > _MOST_HEADER_BYTES:
            raise BaseUnusable(f"its header has more than {_MOST_HEADER_BYTES} bytes, as no model's has")
        taken = self._read.read(length)
        if len(taken) != length:
            raise BaseUnusable("it became shorter while it was read")
        self._place += length
        return taken

    def _number(self, code: str) -> int:
        number: int = struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))[0]
        return number

    def _count(self, what: str, most: int) -> int:
        count = self._number("Q")
        if count > most:
            raise BaseUnusable(f"it claims to have {count} {what}, and {most} are the most")
        return count

    def _text(self, what: str, most: int) -> str:
        length = self._number("Q")
        if length > most:
            raise BaseUnusable(f"{what} claims to have {length} bytes, and {most} are the most")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as error:
            raise BaseUnusable(f"{what} is not valid UTF-8") from error

    def _value(self, key: str, kind: int) -> Value:
        if kind == _STRING:
            return self._text(f"the value of {key!r}", _MOST_TEXT_BYTES)
        if kind == _ARRAY:
            return self._list(key)
        return self._numbers(key, kind, 1)[0]

    def _list(self, key: str) -> list[str] | list[int] | list[float] | list[bool]:
        kind = self._number("I")
        count = self._count(f"items in {key!r}", _MOST_ITEMS)
        if kind == _STRING:
            return [self._text(f"item {index} of {key!r}", _MOST_TEXT_BYTES) for index in range(count)]
        return self._numbers(key, kind, count)

    def _numbers(self, key: str, kind: int, count: int) -> list[int] | list[float] | list[bool]:
        if kind not in _NUMBERS:
            raise BaseUnusable(f"the metadata key {key!r} has a value of type {kind}, which cannot be read")
        code = _NUMBERS[kind]
        read = struct.unpack(f"<{count}{code}", self._take(count * struct.calcsize("<" + code)))
        return [bool(number) for number in read] if kind == _BOOL else list(read)

    @staticmethod
    def _alignment(metadata: dict[str, Value]) -> int:
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 2**20 or alignment & (alignment - 1):
            raise BaseUnusable(f"its general.alignment is {str(alignment)[:40]}, and must be a power of two")
        return alignment

    def _tensor(self) -> StoredTensor:
        """A tensor as the header describes it; its offsets begin at 0 until `_placed` has added where the data is."""
        name = self._text("the name of a tensor", _MOST_NAME_BYTES)
        dimensions = self._number("I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise BaseUnusable(f"the tensor {name!r} has {dimensions} dimensions, and 1 to {_MOST_DIMENSIONS} can be")
        shape = tuple(reversed([self._number("Q") for _ in range(dimensions)]))
        elements = math.prod(shape)
        if not 0 < elements <= _MOST_ELEMENTS:
            raise BaseUnusable(f"the tensor {name!r} has the shape {list(shape)}, as no tensor has")
        kind, begin = self._number("I"), self._number("Q")
        return StoredTensor(name=name, shape=shape, kind=kind, begin=begin, end=begin + _bytes_of(name, shape, kind))

    def _placed(self, described: list[StoredTensor], alignment: int) -> dict[str, StoredTensor]:
        data = -(-self._place // alignment) * alignment
        placed: dict[str, StoredTensor] = {}
        last = data
        for each in sorted(described, key=lambda tensor: tensor.begin):
            begin, end = data + each.begin, data + each.end
            if each.name in placed:
                raise BaseUnusable(f"it has the tensor {each.name!r} twice")
            if each.begin % alignment:
                raise BaseUnusable(f"the tensor {each.name!r} does not begin at a multiple of {alignment} bytes")
            if begin < last:
                raise BaseUnusable(f"the tensor {each.name!r} overlaps the one before it")
            if end > self._size:
                raise BaseUnusable(
                    f"it has {self._size} bytes, and its tensor {each.name!r} would end at {end}: it was cut off, "
                    "or is damaged. Fetch it again"
                )
            placed[each.name] = StoredTensor(name=each.name, shape=each.shape, kind=each.kind, begin=begin, end=end)
            last = end
        return placed


def _bytes_of(name: str, shape: tuple[int, ...], kind: int) -> int:
    # Imported late: it loads numpy and all of the package.
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # noqa: PLC0415

    try:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError) as error:
        raise BaseUnusable(f"the tensor {name!r} has values of type {kind}, which this version cannot read") from error
    if shape[-1] % block:
        raise BaseUnusable(f"the tensor {name!r} has rows of {shape[-1]} values, and its type has blocks of {block}")
    return math.prod(shape) // block * size
