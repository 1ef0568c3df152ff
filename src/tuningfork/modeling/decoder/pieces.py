"""The pieces of a decoder layer between its matrix products, each with its backward pass.

The residual stream and what is computed on single numbers is fp32: on a CPU that is twice as fast as bfloat16, which is
widened and narrowed at each operation, and it rounds less. Matrix products take and give the base's dtype.

Shape suffixes: T tokens, D hidden features, F features of the MLP, H heads, K head size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension (Zhang & Sennrich 2019).

    `weight` is fp32 and what is really multiplied with (Gemma stores it less one).
    """

    weight: Tensor
    epsilon: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output in fp32, and what `backward` needs: one over the root for each row."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(self.epsilon).rsqrt_()
        return (x * inverse).mul_(self.weight), inverse

    def backward(self, slope: Tensor, x: Tensor, inverse: Tensor) -> Tensor:
        """The gradient of x in fp32; `slope` is that of y, in fp32."""
        unit = x * inverse
        inner = slope * self.weight
        shared = (inner * unit).mean(dim=-1, keepdim=True)
        return inner.addcmul_(unit, shared, value=-1).mul_(inverse)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary position embedding (Su et al. 2021) of the first features of each head, paired half with half."""

    cos_T1K: Tensor
    sin_T1K: Tensor
    """With the sign that belongs to the half that is rotated in."""

    @classmethod
    def of(cls, cos_TK: Tensor, sin_TK: Tensor) -> "Rotation":
        """From transformers' tables, in fp32."""
        half = cos_TK.shape[-1] // 2
        signed_TK = torch.cat((-sin_TK[:, :half], sin_TK[:, half:]), dim=-1)
        return cls(cos_TK[:, None], signed_TK[:, None])

    def forward(self, x_THK: Tensor) -> Tensor:
        """The rotated heads; `x_THK` is fp32."""
        return self._rotated(x_THK, 1)

    def backward(self, slope_THK: Tensor) -> Tensor:
        """Rotated back."""
        return self._rotated(slope_THK, -1)

    def _rotated(self, x_THK: Tensor, direction: int) -> Tensor:
        size = self.cos_T1K.shape[-1]
        if size < x_THK.shape[-1]:
            turned = self._turned(x_THK[..., :size], direction)
            return torch.cat((turned, x_THK[..., size:]), dim=-1)
        return self._turned(x_THK, direction)

    def _turned(self, x_THK: Tensor, direction: int) -> Tensor:
        swapped = x_THK.roll(x_THK.shape[-1] // 2, -1)
        return (x_THK * self.cos_T1K).addcmul_(swapped, self.sin_T1K, value=direction)


class Activation(Protocol):
    """The function on the MLP's gate, and its derivative."""

    def __call__(self, gate: Tensor) -> Tensor:
        """Of each number."""
        ...

    def backward(self, slope: Tensor, gate: Tensor, into: Tensor) -> None:
        """Write the gradient of the gate."""
        ...


class Silu:
    """x * sigmoid(x)."""

    def __call__(self, gate: Tensor) -> Tensor:
        """Of each number."""
        return silu(gate)

    def backward(self, slope: Tensor, gate: Tensor, into: Tensor) -> None:
        """Write the gradient of the gate."""
        torch.ops.aten.silu_backward.grad_input(slope, gate, grad_input=into)


class GeluTanh:
    """GELU in its approximation by tanh (Hendrycks & Gimpel 2016)."""

    def __call__(self, gate: Tensor) -> Tensor:
        """Of each number."""
        return gelu(gate, approximate="tanh")

    def backward(self, slope: Tensor, gate: Tensor, into: Tensor) -> None:
        """Write the gradient of the gate."""
        torch.ops.aten.gelu_backward.grad_input(slope, gate, approximate="tanh", grad_input=into)


ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    "silu": Silu,
    "swish": Silu,
    "gelu_pytorch_tanh": GeluTanh,
    "gelu_tanh": GeluTanh,
}
"""Under the names of transformers' configurations."""


def gated(activation: Activation, both_TF: Tensor) -> tuple[Tensor, Tensor]:
    """act(gate) * up, where gate and up lie side by side; and act(gate), which `gated_backward` needs."""
    gate_TF, up_TF = both_TF.chunk(2, dim=-1)
    acted_TF = activation(gate_TF)
    return acted_TF * up_TF, acted_TF


def gated_backward(activation: Activation, slope_TF: Tensor, both_TF: Tensor, acted_TF: Tensor) -> Tensor:
    """The gradient of gate and up, side by side."""
    gate_TF, up_TF = both_TF.chunk(2, dim=-1)
    slopes = torch.empty_like(both_TF)
    gate_slope, up_slope = slopes.chunk(2, dim=-1)
    activation.backward(slope_TF * up_TF, gate_TF, into=gate_slope)
    torch.mul(slope_TF, acted_TF, out=up_slope)
    return slopes
