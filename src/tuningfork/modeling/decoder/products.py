"""Matrix products with frozen weights, forward and backward.

On a CPU in bfloat16, rearranging the weights for the processor takes most of a short product's time, at every call.
Weights that oneDNN has rearranged once (packed) halve the time for one row, and save a quarter for sixteen rows; the
numbers are the same to the last bit (docs/log.md). This takes a second copy of the weights, and a third one for the
backward pass.

On a CPU in fp32, products are compiled ones where the package has them (`modeling/compiled/products.py`). They read
weights where they lie, such as in a mapped file, and in the type that they are stored in. Weights in int8
(`modeling/int8_weights.py`) are multiplied by these too, or else by torch, which widens some of them at a time.

A product of a long pass is computed in blocks of rows, so that the pass can be suspended in between.

Shape suffixes: T tokens, D inputs, O outputs.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from tuningfork.modeling.decoder.pieces import PIECE_PRODUCTS, even_blocks
from tuningfork.modeling.device.processor import rearranged, rearranged_linear, rearranges

_PRODUCTS_PER_PIECE = 8
"""How many products, one after the other, may be in one piece."""


def can_be_packed(weight: Tensor) -> bool:
    """Whether `FrozenProduct.pack` copies such a weight: it is in bfloat16, on a CPU where oneDNN supports that."""
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and rearranges(weight.dtype)


class StoredProduct(Protocol):
    """Computes a product from weights of another type: `modeling/compiled/products.CompiledProduct`, for example."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of x and y."""
        ...

    def __call__(self, x_TD: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """The output `TO`."""
        ...

    def backward(self, grad_TO: Tensor) -> Tensor:
        """The gradient of x, `TD`, given that of y, `TO`."""
        ...


StoredProducts = Callable[[Sequence[Tensor], Tensor | None], StoredProduct]
"""Makes the product of weights given as parts `OD`, which stand one below the other, and their scales `O` or None."""


@dataclass(slots=True)
class FrozenProduct:
    """`y = W x + b` for rows of x; `backward` computes the gradient of x only.

    `pack` makes the rearranged copies. The plain weights stay: transformers' layers hold views of them.
    """

    parts: tuple[Tensor, ...]
    """The weights `OD`, which stand one below the other in W. Without `stored` they are one tensor."""
    bias_O: Tensor | None = None
    stored: StoredProduct | None = None
    """Computes the product from weights as they are stored; None: torch computes it, in the type of the weights."""
    scale_O: Tensor | None = None
    """What `stored` multiplies the weights of each output with, in fp32; None: nothing."""
    _packed: Any = None
    _packed_transposed: Any = None
    piece: int = PIECE_PRODUCTS
    """About how many multiplications a block has at most."""

    @property
    def inputs(self) -> int:
        """D, the size of a row of x."""
        return self.parts[0].shape[1]

    @property
    def outputs(self) -> int:
        """O, the size of a row of y."""
        return sum(len(part) for part in self.parts)

    @property
    def dtype(self) -> torch.dtype:
        """The type of x and y."""
        return self.parts[0].dtype if self.stored is None else self.stored.dtype

    @property
    def weight(self) -> Tensor:
        """The whole of W, in the type that it is stored in and without scales. If it has several parts, a copy."""
        return self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts)

    def pack(self, *, backward: bool) -> None:
        """Copy the weights in oneDNN's order for the forward pass and, if `backward`, for the backward pass.

        If `stored` computes the product, or oneDNN does not support the weights, nothing is copied.
        """
        if self.stored is None and can_be_packed(self.weight):
            if self._packed is None:
                self._packed = rearranged(self.weight)
            if backward and self._packed_transposed is None:
                self._packed_transposed = rearranged(self.weight.t().contiguous())

    def __call__(self, x_TD: Tensor) -> Tensor:
        """The output `TO`."""
        if self.stored is not None:
            return self.stored(x_TD, self.bias_O)
        if self._packed is None:
            return linear(x_TD, self.weight, self.bias_O)
        return rearranged_linear(x_TD, self._packed, self.bias_O)

    def backward(self, grad_TO: Tensor) -> Tensor:
        """The gradient of x, `TD`, given that of y, `TO`."""
        if self.stored is not None:
            return self.stored.backward(grad_TO)
        if self._packed_transposed is None:
            return grad_TO @ self.weight
        return rearranged_linear(grad_TO, self._packed_transposed, None)

    def in_parts(self, x_TD: Tensor) -> Generator[None, None, Tensor]:
        """The output `TO`; if it takes long, in blocks of rows, and yields before and after each block."""
        if not self._is_long(x_TD):
            return self(x_TD)
        yield
        blocks = self._blocks(x_TD)
        if len(blocks) == 1:
            return self(x_TD)
        y_TO = x_TD.new_empty(len(x_TD), self.outputs)
        for begin, end in blocks:
            y_TO[begin:end] = self(x_TD[begin:end])
            yield
        return y_TO

    def backward_in_parts(self, grad_TO: Tensor) -> Generator[None, None, Tensor]:
        """Like `backward`; if it takes long, in blocks of rows, and yields before and after each block."""
        if not self._is_long(grad_TO):
            return self.backward(grad_TO)
        yield
        blocks = self._blocks(grad_TO)
        if len(blocks) == 1:
            return self.backward(grad_TO)
        grad_TD = grad_TO.new_empty(len(grad_TO), self.inputs)
        for begin, end in blocks:
            grad_TD[begin:end] = self.backward(grad_TO[begin:end])
            yield
        return grad_TD

    def _is_long(self, rows: Tensor) -> bool:
        """Whether a product on a CPU has so many rows that it is a piece, or several, of its own."""
        return len(rows) * self.inputs * self.outputs > self.piece // _PRODUCTS_PER_PIECE and rows.device.type == "cpu"

    def _blocks(self, rows: Tensor) -> list[tuple[int, int]]:
        return even_blocks(len(rows), max(1, self.piece // (self.inputs * self.outputs)))
