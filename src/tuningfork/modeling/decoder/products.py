"""Matrix products with frozen weights, forward and backward.

On a CPU in bfloat16, rearranging the weights for the processor takes most of a short product's time, at every call.
Weights that oneDNN has rearranged once (packed) halve the time for one row, and save a quarter for sixteen rows; the
numbers are the same to the last bit (docs/log.md). This takes a second copy of the weights, and a third one for the
backward pass.

Shape suffixes: T tokens, D inputs, O outputs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from tuningfork.modeling.device.processor import rearranged, rearranged_linear, rearranges


def can_be_packed(weight: Tensor) -> bool:
    """Whether `FrozenProduct.pack` copies such a weight: it is in bfloat16, on a CPU where oneDNN supports that."""
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and rearranges(weight.dtype)


@dataclass(slots=True)
class FrozenProduct:
    """`y = W x + b` for rows of x; `backward` computes the gradient of x only.

    `pack` makes the rearranged copies. The plain weights stay: transformers' layers hold views of them.
    """

    weight_OD: Tensor
    bias_O: Tensor | None = None
    _packed: Any = None
    _packed_transposed: Any = None

    def pack(self, *, backward: bool) -> None:
        """Copy the weights in oneDNN's order for the forward pass and, if `backward`, for the backward pass.

        If oneDNN does not support the weights, nothing is copied.
        """
        if can_be_packed(self.weight_OD):
            if self._packed is None:
                self._packed = rearranged(self.weight_OD)
            if backward and self._packed_transposed is None:
                self._packed_transposed = rearranged(self.weight_OD.t().contiguous())

    def __call__(self, x_TD: Tensor) -> Tensor:
        """The output `TO`."""
        if self._packed is None:
            return linear(x_TD, self.weight_OD, self.bias_O)
        return rearranged_linear(x_TD, self._packed, self.bias_O)

    def backward(self, grad_TO: Tensor) -> Tensor:
        """The gradient of x, `TD`, given that of y, `TO`."""
        if self._packed_transposed is None:
            return grad_TO @ self.weight_OD
        return rearranged_linear(grad_TO, self._packed_transposed, None)
