"""The weights of a base with an adapter merged in, a few rows at a time, and their forms in GGUF files.

Shape suffixes: H rows of a block, C columns, R rank of an adapter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize
from numpy.typing import NDArray

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.deltas import STORED_TYPES, Delta
from tuningfork.modeling.files.gguf.plan import Change, Part
from tuningfork.modeling.files.gguf.values import Floats, Precision, rounded, rows_at_once
from tuningfork.modeling.files.gguf.weights import rows_in_file
from tuningfork.modeling.files.stored_weights import Stored

Kind = GGMLQuantizationType


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight of the base, where it is stored, and the change that the adapter makes to it. None: it makes none."""

    file: Path
    stored: Stored
    delta: Delta | None

    def rows(self, rows: NDArray[np.int64]) -> Floats:
        """These rows, `HC` in float32; a weight of one dimension has one row.

        Raises:
            BaseUnusable: not all values are finite numbers.

        """
        first, count = int(rows.min()), int(rows.max() - rows.min()) + 1
        dtype, columns = STORED_TYPES[self.stored.kind], self.stored.shape[-1]
        with self.file.open("rb") as read:
            read.seek(self.stored.begin + first * columns * dtype.itemsize)
            content = bytearray(read.read(count * columns * dtype.itemsize))
        weight_HC = torch.frombuffer(content, dtype=dtype).view(count, columns).float()
        if self.delta is not None:
            b_HR = self.delta.b_OR[first : first + count]
            weight_HC = torch.addmm(weight_HC, b_HR, self.delta.a_RD, alpha=self.delta.scale)
        if not torch.isfinite(weight_HC).all():
            raise BaseUnusable(f"its weight {self.stored.name!r} has values that are not finite numbers")
        values: Floats = weight_HC.numpy()[rows - first]
        return values


def kind_of(shape: tuple[int, ...], wanted: Kind) -> Kind:
    """The type in which a tensor is stored: norms and biases in float32, and what has no whole blocks in float16."""
    if len(shape) == 1:
        return Kind.F32
    return Kind.F16 if wanted is Kind.Q8_0 and shape[-1] % _Q8_0_BLOCK else wanted


_Q8_0_BLOCK = 32


def blocks_of(part: Part, weight: Weight, kind: Kind) -> Iterator[bytes]:
    """The bytes of a tensor in its file.

    Args:
        part: how our reader would read the tensor.
        weight: its values.
        kind: its type in the file.

    Raises:
        BaseUnusable: a value is not finite, or is larger than the type can hold.

    """
    if len(part.shape) == 1:
        row_C = weight.rows(np.zeros(1, np.int64))[0]
        if part.change is Change.HALVES:
            row_C = row_C[model_rows(part)]
        yield _encoded(_done(row_C, part.change), kind, part.name)
        return
    order, step = model_rows(part), rows_at_once(part.shape[-1])
    for first in range(0, len(order), step):
        yield _encoded(_done(weight.rows(order[first : first + step]), part.change), kind, part.name)


def model_rows(part: Part) -> NDArray[np.int64]:
    """The row of the model's weight that each row of the file's tensor is."""
    order = np.empty(part.shape[0], np.int64)
    order[rows_in_file(part)] = np.arange(part.shape[0])
    return order


def _done(values: Floats, change: Change) -> Floats:
    return values + np.float32(1) if change is Change.SHIFTED else values


def _encoded(values: Floats, kind: Kind, name: str) -> bytes:
    if kind is Kind.Q8_0:
        return bytes(quantize(values, kind).tobytes())
    with np.errstate(over="ignore"):
        content = rounded(values, _PRECISIONS[kind])
    if kind is Kind.F16 and not np.isfinite(content).all():
        raise BaseUnusable(
            f"its weight {name!r} has values up to {np.abs(values).max():.4g}, and float16 ends at 65504; write "
            "bf16 or f32 instead"
        )
    return bytes(content.tobytes())


_PRECISIONS: Mapping[Kind, Precision] = {
    Kind.F32: Precision.F32,
    Kind.F16: Precision.F16,
    Kind.BF16: Precision.BF16,
}
