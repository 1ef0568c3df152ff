"""The header of an adapter's weights, a safetensors file: which matrices it holds, and whether they are an adapter's.

The format: the header's length in 8 bytes, little-endian; the header, a JSON object; the tensors, without gaps
(safetensors' description, "Format"). The header is read here and not by safetensors, which a client does not have.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.peft import WEIGHTS

MOST_HEADER_BYTES = 4 * 2**20
MOST_TENSORS = 20_000
MOST_BYTES = 16 * 2**30
"""Of the file. An adapter of rank 64 on a model of 70 billion parameters has about 3 GiB."""

_MATRIX = re.compile(r"base_model\.model\.(?P<layer>[\w.]{1,500})\.lora_(?P<letter>[AB])\.weight")
_OTHER_KINDS = {
    "lora_embedding_": "it adapts an embedding (lora_embedding)",
    "lora_magnitude_vector": "it is a DoRA adapter",
    "modules_to_save": "it replaces whole layers (modules_to_save)",
    "token_adapter": "it changes single tokens (trainable_token_indices)",
    "base_layer.weight": "it brings weights of the base, since the head or the embedding was adapted",
    ".bias": "it has biases (bias, lora_bias)",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of numbers: its bytes, and the bits by which its exponent shows infinity or no number."""

    size: int
    high: int
    low: int


_KINDS = {"F32": _Kind(4, 0x7F, 0x80), "BF16": _Kind(2, 0x7F, 0x80), "F16": _Kind(2, 0x7C, 0x00)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMatrix:
    """One matrix: its name, its type as safetensors writes it, its shape, and where its bytes are in the file."""

    name: str
    kind: str
    shape: tuple[int, int]
    begin: int
    end: int


def parse_weights(file: BinaryIO, size: int, shape: AdapterShape) -> tuple[StoredMatrix, ...]:
    """Read and check the header at the beginning of a file of `size` bytes: the matrices in the order of their bytes.

    Raises:
        InvalidArgument: it is no such file, or not that of an adapter of this shape; the message says why.

    """
    length = int.from_bytes(file.read(8), "little")
    if size > MOST_BYTES or not 2 <= length <= min(MOST_HEADER_BYTES, size - 8):
        raise InvalidArgument(
            f"{WEIGHTS} is no safetensors file of an adapter: it has {size:,} bytes, its header {length:,}"
        )
    header = _header(file.read(length))
    if not 1 <= len(header) <= MOST_TENSORS:
        raise InvalidArgument(f"{WEIGHTS} holds {len(header):,} tensors; an adapter has 2 to {MOST_TENSORS:,}")
    data = 8 + length
    found = sorted((_matrix(name, value, data) for name, value in header.items()), key=lambda each: each.begin)
    end = data
    for each in found:
        if each.begin != end:
            raise _damaged(f"the bytes of {each.name} overlap others, or leave a gap")
        end = each.end
    if end != size:
        raise _damaged(f"it has {size:,} bytes, and its tensors end at {end:,}")
    _check_pairs({each.name: each.shape for each in found}, shape)
    return tuple(found)


def has_strange_numbers(kind: str, data: bytes) -> bool:
    """Whether any of these numbers, whole ones of this type, is infinite or no number."""
    form = _KINDS[kind]
    high, low = data[form.size - 1 :: form.size], data[form.size - 2 :: form.size]
    marked = int.from_bytes(high.translate(_table(form.high)))
    if form.low:
        marked &= int.from_bytes(low.translate(_table(form.low)))
    return marked != 0


def number_bytes(kind: str) -> int:
    """How many bytes a number of this type takes."""
    return _KINDS[kind].size


def _table(mask: int) -> bytes:
    """A translation of bytes: 1 for those that have all bits of the mask, else 0."""
    return bytes(int(byte & mask == mask) for byte in range(256))


def _header(data: bytes) -> Mapping[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged("its header is no JSON object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(each, str) for each in notes.values()):
        raise _damaged("its metadata is no object of texts")
    return header


def _matrix(name: str, told: Any, data: int) -> StoredMatrix:
    for mark, meaning in _OTHER_KINDS.items():
        if mark in name:
            raise InvalidArgument(
                f"{WEIGHTS} holds {name[:200]!r}: {meaning}, which cannot be served; only plain LoRA on linear layers "
                "can"
            )
    if not _MATRIX.fullmatch(name):
        raise InvalidArgument(
            f"{WEIGHTS} holds {name[:200]!r}, which is no LoRA matrix of a linear layer as PEFT's save_pretrained "
            "names them: base_model.model.LAYER.lora_A.weight"
        )
    try:
        kind, shape, (begin, end) = told["dtype"], told["shape"], told["data_offsets"]
        rows, columns = shape
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(f"its header does not describe {name} as a matrix") from error
    if not all(type(each) is int and 0 <= each < 2**63 for each in (rows, columns, begin, end)):
        raise _damaged(f"the header of {name} has something else than whole numbers")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidArgument(f"{WEIGHTS} holds {name} as {str(kind)[:20]!r}; only {', '.join(_KINDS)} can be imported")
    if end - begin != math.prod((rows, columns, _KINDS[kind].size)) or not rows or not columns:
        raise _damaged(f"{name} has {end - begin:,} bytes, which are not those of {rows} x {columns} {kind} numbers")
    return StoredMatrix(name=name, kind=kind, shape=(rows, columns), begin=data + begin, end=data + end)


def _check_pairs(shapes: Mapping[str, tuple[int, int]], shape: AdapterShape) -> None:
    """Check that each layer has both matrices, of the adapter's rank."""
    for name, (rows, columns) in sorted(shapes.items()):
        is_a = name.endswith(".lora_A.weight")
        if (other := name.replace(*(("lora_A", "lora_B") if is_a else ("lora_B", "lora_A")))) not in shapes:
            raise _damaged(f"it holds {name} without {other}")
        rank = rows if is_a else columns
        if rank != shape.rank:
            raise InvalidArgument(
                f"{name} has the shape {rows} x {columns}, so its rank is {rank}; adapter_config.json says "
                f"{shape.rank}, and ranks that differ between layers (rank_pattern) cannot be served"
            )


def _damaged(why: str) -> InvalidArgument:
    return InvalidArgument(f"{WEIGHTS} is damaged: {why}")
