"""Writes a model's weights as one safetensors file, from the tensors of a GGUF file, a few rows at a time.

The format: see `stored_weights`. It is written here since safetensors' own writer wants all tensors in memory.
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tuningfork.modeling.files.gguf.plan import Change, Part
from tuningfork.modeling.files.gguf.values import (
    Floats,
    Precision,
    least_precision,
    nearest_bfloat16,
    precision_of,
    read_rows,
    rounded,
    rows_at_once,
)

_ALIGNMENT = 64
"""The weights begin at a multiple of it, so that they can be mapped into memory and used there."""

Told = Callable[[int, int], None]
"""Is told how many bytes of how many are written."""


class Weights:
    """The weights of a model, each with the type that it will be stored in."""

    def __init__(self, file: Path, parts: list[Part]) -> None:
        self._file = file
        self._parts = [(part, self._precision(part)) for part in parts]

    @property
    def bytes(self) -> int:
        """The bytes of all tensors."""
        return sum(math.prod(part.shape) * precision.size for part, precision in self._parts)

    @property
    def main_precision(self) -> Precision:
        """The type of most numbers."""
        counts: Counter[Precision] = Counter()
        for part, precision in self._parts:
            counts[precision] += math.prod(part.shape)
        return counts.most_common(1)[0][0]

    def write(self, target: Path, told: Told) -> None:
        """Write them to a file.

        Raises:
            BaseUnusable: the GGUF file is damaged.
            OSError: the file cannot be written.

        """
        written, total = 0, self.bytes
        with target.open("wb") as write:
            self._write_header(write)
            for part, precision in self._parts:
                for values in self._chunks(part):
                    written += write.write(rounded(values, precision).tobytes())
                    told(written, total)

    def _write_header(self, write: BinaryIO) -> None:
        described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        begin = 0
        for part, precision in self._parts:
            end = begin + math.prod(part.shape) * precision.size
            described[part.name] = {"dtype": precision.value, "shape": list(part.shape), "data_offsets": [begin, end]}
            begin = end
        header = json.dumps(described).encode()
        header += b" " * (-(len(header) + 8) % _ALIGNMENT)
        write.write(struct.pack("<Q", len(header)) + header)

    def _precision(self, part: Part) -> Precision:
        if part.source is None:
            return Precision.BF16
        return precision_of(part.source) or least_precision(self._chunks(part))

    def _chunks(self, part: Part) -> Iterator[Floats]:
        """The values of a tensor of the model, `RC` by `RC`."""
        if part.source is None:
            yield np.zeros(part.shape, np.float32)
            return
        if len(part.shape) == 1:
            row = read_rows(self._file, part.source, np.zeros(1, np.int64))[0]
            row = row[part.first_row : part.first_row + part.shape[0]]
            yield _undone(row[rows_in_file(part)] if part.change is Change.HALVES else row, part.change)
            return
        order, step = rows_in_file(part) + part.first_row, rows_at_once(part.shape[-1])
        for first in range(0, len(order), step):
            yield _undone(read_rows(self._file, part.source, order[first : first + step]), part.change)


def rows_in_file(part: Part) -> NDArray[np.int64]:
    """The place in the file's tensor of each row of the model's, counted from the part's first row."""
    order = np.arange(part.shape[0])
    if part.change is not Change.HALVES:
        return order
    # The inverse of the converter's (heads, 2, half) -> (heads, half, 2).
    return order.reshape(part.heads, -1, 2).swapaxes(1, 2).reshape(-1)


def _undone(values: Floats, change: Change) -> Floats:
    if change is not Change.SHIFTED:
        return values
    less = values - np.float32(1)
    # The sum with one was rounded. The model's own weights, in bfloat16, are those that give this sum.
    original = nearest_bfloat16(less)
    return np.where(original + np.float32(1) == values, original, less)
