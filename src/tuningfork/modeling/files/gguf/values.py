"""Reads the values of tensors from a GGUF file, a few rows at a time, and rounds them to types that models have.

Shapes: R rows of a tensor, C columns.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import StoredTensor

Floats = NDArray[np.float32]

_ELEMENTS_AT_ONCE = 2**22
_MOST_LISTED = 65_536


class Precision(StrEnum):
    """A type of stored numbers, by its name in safetensors."""

    BF16 = "BF16"
    F16 = "F16"
    F32 = "F32"

    @property
    def size(self) -> int:
        """The bytes of a number."""
        return 4 if self is Precision.F32 else 2


def rows_at_once(columns: int) -> int:
    """How many rows of so many columns are worked on together: 16 MiB of them in float32, at least one."""
    return max(1, _ELEMENTS_AT_ONCE // columns)


def read_rows(file: Path, stored: StoredTensor, rows: NDArray[np.int64]) -> Floats:
    """These rows of a tensor, `RC` in float32; a tensor of one dimension has one row.

    Raises:
        BaseUnusable: the values are of a type that cannot be read, or not all are finite numbers.

    """
    kind = GGMLQuantizationType(stored.kind)
    block, size = GGML_QUANT_SIZES[kind]
    columns = stored.shape[-1]
    row_bytes = columns // block * size
    first, last = int(rows.min()), int(rows.max())
    with file.open("rb") as read:
        read.seek(stored.begin + first * row_bytes)
        raw = read.read((last - first + 1) * row_bytes)
    if len(raw) != (last - first + 1) * row_bytes:
        raise BaseUnusable("the file became shorter while it was read")
    bytes_RB = np.frombuffer(raw, np.uint8).reshape(-1, row_bytes)[rows - first]
    values_RC = _dequantized(bytes_RB, kind, stored.name)
    if not np.isfinite(values_RC).all():
        raise BaseUnusable(f"its tensor {stored.name!r} has values that are not finite numbers: the file is damaged")
    return values_RC


def read_numbers(stored: StoredTensor, file: Path) -> list[float]:
    """All numbers of a small tensor of one dimension.

    Raises:
        BaseUnusable: it has more than 65,536, or see `read_rows`.

    """
    if len(stored.shape) != 1 or stored.shape[0] > _MOST_LISTED:
        raise BaseUnusable(f"its tensor {stored.name!r} has the shape {list(stored.shape)}, and a short list is needed")
    return [float(str(number)) for number in read_rows(file, stored, np.zeros(1, np.int64))[0]]


def precision_of(stored: StoredTensor) -> Precision | None:
    """The type that holds a tensor's values; None: it depends on them, see `least_precision`.

    Quantized weights are in bfloat16, which is far closer to them than they are to the weights before quantization.
    """
    kind = GGMLQuantizationType(stored.kind)
    if kind is GGMLQuantizationType.F16:
        return Precision.F16
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F64):
        return None
    return Precision.BF16


def least_precision(chunks: Iterator[Floats]) -> Precision:
    """The smallest type that holds all these values exactly; bfloat16 before float16."""
    possible = [Precision.BF16, Precision.F16]
    for values in chunks:
        possible = [each for each in possible if _holds(each, values)]
        if not possible:
            return Precision.F32
    return possible[0]


def rounded(values: Floats, precision: Precision) -> NDArray[Any]:
    """The values in this type, rounded to the nearest; bfloat16 as its bits, which numpy has no type for."""
    if precision is Precision.F32:
        return np.ascontiguousarray(values, np.float32)
    if precision is Precision.F16:
        return values.astype(np.float16)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def nearest_bfloat16(values: Floats) -> Floats:
    """The values rounded to bfloat16, in float32."""
    return (rounded(values, Precision.BF16).astype(np.uint32) << 16).view(np.float32)


def _holds(precision: Precision, values: Floats) -> bool:
    if precision is Precision.BF16:
        return not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any()
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16).astype(np.float32) == values).all())


def _dequantized(bytes_RB: NDArray[np.uint8], kind: GGMLQuantizationType, name: str) -> Floats:
    if kind is GGMLQuantizationType.F64:
        return bytes_RB.view(np.float64).astype(np.float32)
    try:
        # A file may claim scales of any size: what overflows is found as not finite.
        with np.errstate(all="ignore"):
            return np.asarray(dequantize(bytes_RB, kind), np.float32)
    except NotImplementedError as error:
        raise BaseUnusable(
            f"its tensor {name!r} is quantized as {kind.name}, which this version of the gguf package cannot read"
        ) from error
