"""Writes the header of a GGUF file, and makes the file as long as its tensors will need.

The format: see `files/gguf/header`. It is written here since the gguf package has no form for empty lists, and wants
tensors whole.
"""

import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.constants import GGUFValueType as Kind
from numpy.typing import NDArray

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import MAGIC, Header, Scalar, StoredTensor, Value, read_header

_VERSION, _ALIGNMENT = 3, 32
_CODES = {Kind.BOOL: "?", Kind.UINT32: "I", Kind.INT32: "i", Kind.FLOAT32: "f"}
"""The types of numbers, as `struct` writes them."""
_MOST_NAME_BYTES = 63
"""ggml's limit (`GGML_MAX_NAME`)."""


@dataclass(frozen=True, slots=True)
class TensorForm:
    """The shape of a tensor, as torch orders it, and the type in which it is stored."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType

    @property
    def bytes(self) -> int:
        """The bytes of its values."""
        block, size = GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // block * size


def write_header(
    file: Path,
    architecture: str,
    keys: Mapping[str, Value],
    tensors: Mapping[str, TensorForm],
    *,
    with_room: bool = True,
) -> Header:
    """Make a file with this metadata and room for these tensors, whose values are all zero. Returns its header.

    The file takes no space on the disk for what was not written yet, where the file system can do so.

    Args:
        file: to be made.
        architecture: as the file names it.
        keys: its metadata.
        tensors: by their names, in the order of the file.
        with_room: False: the file ends with its header.

    Raises:
        BaseUnusable: a tensor's name is longer than ggml allows.
        OSError: the file cannot be written.

    """
    metadata: dict[str, Value] = {"general.architecture": architecture, **keys}
    content = bytearray(MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        content += _text(key) + _value(value)
    offset = 0
    for name, form in tensors.items():
        if len(name.encode()) > _MOST_NAME_BYTES:
            raise BaseUnusable(f"its tensor {name!r} has a name of more than {_MOST_NAME_BYTES} bytes")
        sizes = form.shape[::-1]
        content += _text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, form.kind, offset)
        offset += _padded(form.bytes)
    file.write_bytes(content)
    size = _padded(len(content)) + offset
    if with_room:
        os.truncate(file, size)
    return read_header(file, size)


def write_numbers(file: Path, stored: StoredTensor, values: NDArray[np.float32]) -> None:
    """Write all values of a tensor in float32 to its place in the file."""
    with file.open("r+b") as write:
        write.seek(stored.begin)
        write.write(np.ascontiguousarray(values, np.float32).tobytes())


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _value(value: Value) -> bytes:
    """A value with its type before it: that which llama.cpp expects of such a value, also of items of a list."""
    if not isinstance(value, list):
        kind = _kind_of(value)
        return struct.pack("<I", kind) + (_text(value) if isinstance(value, str) else _numbers(kind, [value]))
    # Empty lists here are of texts: the merges of a tokenizer without any.
    kind = _kind_of(value[0]) if value else Kind.STRING
    kind = Kind.INT32 if kind is Kind.UINT32 else kind
    content = b"".join(map(_text, map(str, value))) if kind is Kind.STRING else _numbers(kind, value)
    return struct.pack("<IIQ", Kind.ARRAY, kind, len(value)) + content


def _kind_of(value: Scalar) -> Kind:
    kinds = {bool: Kind.BOOL, int: Kind.UINT32, float: Kind.FLOAT32, str: Kind.STRING}
    return kinds[type(value)]


def _numbers(kind: Kind, values: Sequence[object]) -> bytes:
    return struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
