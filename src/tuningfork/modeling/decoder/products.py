"""Matrix products with frozen weights, forwards and backwards.

On a CPU in bfloat16 most of a short product's time goes into rearranging the weights for the processor, at every call.
oneDNN keeps them rearranged: at one row that halves the time, at sixteen it saves a quarter, and the numbers are the
same to the last bit (docs/log.md). The price is a second copy, and a third for the backward pass.

Shape suffixes: T tokens, D inputs, O outputs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

_TYPICAL_ROWS = 64
"""What weights are rearranged for; any number of rows may come."""


def can_be_packed(weight: Tensor) -> bool:
    """Whether this torch keeps rearranged weights of this kind."""
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    operators = torch.ops.mkldnn
    return hasattr(operators, "_linear_pointwise") and hasattr(operators, "_reorder_linear_weight")


@dataclass(slots=True)
class FrozenProduct:
    """`y = W x + b` for rows of x; `backward` gives the gradient of x alone.

    `pack` makes the rearranged copies. Plain weights stay where they are: transformers' layers hold views of them.
    """

    weight_OD: Tensor
    bias_O: Tensor | None = None
    _packed: Any = None
    _packed_transposed: Any = None

    def pack(self, *, backward: bool) -> None:
        """Keep the weights as the processor wants them, for the forward pass and, if asked, for the backward pass."""
        if can_be_packed(self.weight_OD):
            if self._packed is None:
                self._packed = _rearranged(self.weight_OD)
            if backward and self._packed_transposed is None:
                self._packed_transposed = _rearranged(self.weight_OD.t().contiguous())

    def __call__(self, x_TD: Tensor) -> Tensor:
        """The output `TO`."""
        if self._packed is None:
            return linear(x_TD, self.weight_OD, self.bias_O)
        return _packed_linear(x_TD, self._packed, self.bias_O)

    def backward(self, slope_TO: Tensor) -> Tensor:
        """The gradient of x, `TD`, of that of y."""
        if self._packed_transposed is None:
            return slope_TO @ self.weight_OD
        return _packed_linear(slope_TO, self._packed_transposed, None)


def _rearranged(weight_OD: Tensor) -> Any:
    return torch.ops.mkldnn._reorder_linear_weight(weight_OD, _TYPICAL_ROWS)  # noqa: SLF001  inductor's own operator


def _packed_linear(x: Tensor, packed: Any, bias_O: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias_O, "none", [], "")  # noqa: SLF001
    return y
