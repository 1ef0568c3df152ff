"""Reads the headers of safetensors files: where each tensor is, without reading the tensors.

The format: the header's length in 8 bytes, little-endian; the header, a JSON object; the tensors, without gaps
(safetensors' description, "Format").
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tuningfork.domain.errors import InvalidArgument

_SAMPLE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor in a file: its type as safetensors writes it (`BF16`), and the offsets of its bytes in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


def stored_in(file: Path) -> list[Stored]:
    """The tensors of a file, in the order of their offsets.

    Raises:
        InvalidArgument: the file is not there, or damaged.

    """
    try:
        # Safetensors' own reader validates the header. With "np" it reserves no memory for the tensors.
        with safe_open(file, "np"), file.open("rb") as read:
            length = int.from_bytes(read.read(8), "little")
            described: dict[str, Any] = json.loads(read.read(length))
    except (OSError, SafetensorError) as error:
        raise InvalidArgument(f"the base's weights cannot be read from {file}: {error}") from error
    described.pop("__metadata__", None)
    data = 8 + length
    found = [
        Stored(
            name=name,
            kind=each["dtype"],
            shape=tuple(each["shape"]),
            begin=data + each["data_offsets"][0],
            end=data + each["data_offsets"][1],
        )
        for name, each in described.items()
    ]
    return sorted(found, key=lambda stored: (stored.begin, stored.end))


def metadata_of(file: Path) -> dict[str, str]:
    """What the file says of itself beside its tensors.

    Raises:
        InvalidArgument: the file is not there, or damaged.

    """
    try:
        with safe_open(file, "np") as read:
            return dict(read.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InvalidArgument(f"the weights cannot be read from {file}: {error}") from error


def fingerprint(files: Iterable[Path]) -> str:
    """A digest that distinguishes weights of equal shapes: of all tensors' names, types, shapes and a few bytes each.

    It does not depend on how the tensors are divided into files.

    Raises:
        InvalidArgument: a file is not there, or damaged.

    """
    lines = []
    for file in files:
        stored = stored_in(file)
        with file.open("rb") as read:
            for each in stored:
                read.seek((each.begin + each.end) // 2)
                sample = read.read(min(_SAMPLE_BYTES, each.end - read.tell()))
                lines.append(f"{each.name} {each.kind} {each.shape} {sample.hex()}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
