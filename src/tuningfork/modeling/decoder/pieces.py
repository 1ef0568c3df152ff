"""The pieces of a decoder layer between its matrix products, each with its backward pass.

The residual stream and what is computed on single numbers is fp32: on a CPU that is twice as fast as bfloat16, which is
widened and narrowed at each operation, and it rounds less. Matrix products take and give the base's dtype. On a GPU
each piece is one kernel (`modeling/kernels`), which computes in fp32 too.

Shape suffixes: T tokens, D hidden features, F features of the MLP, H heads, J heads of queries and keys, L all heads,
K head size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from tuningfork.modeling import kernels

Kind = Literal["silu", "gelu_tanh"]


@dataclass(frozen=True, slots=True)
class Normed:
    """What a norm keeps for the way back: its input, and one over the root for each row."""

    x: Tensor
    inverse: Tensor


@dataclass(frozen=True, slots=True)
class Slope:
    """The gradient of the residual stream in fp32; and in the products' type, where the same kernel wrote both."""

    exact: Tensor
    rounded: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Tensor:
        """As the products want it, whose type this is."""
        return self.exact.to(dtype) if self.rounded is None else self.rounded


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension (Zhang & Sennrich 2019).

    `weight` is fp32 and what is really multiplied with (Gemma stores it less one).
    """

    weight: Tensor
    epsilon: float

    def forward(self, x: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Normed]:
        """The output in that type, and what `backward` needs; `x` is `TD` or `THK` in any floating-point type."""
        if kernels.serve(x, "pieces"):
            from tuningfork.modeling.kernels import norms  # noqa: PLC0415  imports Triton

            y, inverse = norms.rms_norm(x, self.weight, self.epsilon, dtype)
            return y, Normed(x, inverse)
        x = x.float()
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(self.epsilon).rsqrt_()
        return (x * inverse).mul_(self.weight).to(dtype), Normed(x, inverse)

    def forward_sum(self, x_TD: Tensor, more_TD: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Normed]:
        """Like `forward` of the sum of both, which is `Normed.x`; `x_TD` is fp32, and None adds nothing."""
        if more_TD is None:
            return self.forward(x_TD, dtype)
        if kernels.serve(x_TD, "pieces"):
            from tuningfork.modeling.kernels import norms  # noqa: PLC0415  imports Triton

            sum_TD, y_TD, inverse = norms.add_rms_norm(x_TD, more_TD, self.weight, self.epsilon, dtype)
            return y_TD, Normed(sum_TD, inverse)
        return self.forward(x_TD + more_TD, dtype)

    def backward(
        self, slope: Tensor, normed: Normed, rest: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """The gradient of x, plus `rest`, in that type; `slope` is that of y, in any floating-point type."""
        if kernels.serve(slope, "pieces"):
            from tuningfork.modeling.kernels import norms  # noqa: PLC0415  imports Triton

            return norms.rms_norm_backward(slope, normed.x, normed.inverse, self.weight, rest, dtype)
        unit = normed.x * normed.inverse
        inner = slope.float() * self.weight
        shared = (inner * unit).mean(dim=-1, keepdim=True)
        result = inner.addcmul_(unit, shared, value=-1).mul_(normed.inverse)
        return (result if rest is None else result.add_(rest)).to(dtype)

    def backward_stream(self, slope: Tensor, normed: Normed, rest: Tensor | None, products: torch.dtype) -> Slope:
        """Like `backward`, of a norm on the residual stream, whose gradient goes on to products of that type."""
        if kernels.serve(slope, "pieces") and products != torch.float32:
            from tuningfork.modeling.kernels import norms  # noqa: PLC0415  imports Triton

            exact, rounded = norms.rms_norm_backward_rounded(
                slope, normed.x, normed.inverse, self.weight, rest, products
            )
            return Slope(exact, rounded)
        return Slope(self.backward(slope, normed, rest))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happens to queries and keys before attention: a norm of each head, a rotation, both or neither; in place."""

    heads: int
    key_heads: int
    query_norm: RmsNorm | None
    key_norm: RmsNorm | None
    rotation: Rotation | None

    def forward_(self, all_TLK: Tensor) -> Normed | None:
        """Turn the queries and keys among `all_TLK`; gives what `backward_` needs."""
        if self.rotation is None and self.query_norm is None:
            return None
        if kernels.serve(all_TLK, "pieces"):
            return self._forward_in_one_(all_TLK)
        joint_TJK = all_TLK[:, : self.heads + self.key_heads]
        turned_TJK, kept = self._normed(joint_TJK.to(torch.float32, copy=self.query_norm is not None))
        if self.rotation is not None:
            turned_TJK = self.rotation.forward(turned_TJK)
        joint_TJK.copy_(turned_TJK)
        return kept

    def backward_(self, slope_TLK: Tensor, kept: Normed | None) -> None:
        """Make the gradient of what `forward_` took of that of what it left."""
        if self.rotation is None and self.query_norm is None:
            return
        if kernels.serve(slope_TLK, "pieces"):
            self._backward_in_one_(slope_TLK, kept)
            return
        joint_TJK = slope_TLK[:, : self.heads + self.key_heads]
        turned_TJK = joint_TJK.float()
        if self.rotation is not None:
            turned_TJK = self.rotation.backward(turned_TJK)
        joint_TJK.copy_(self._normed_backward(turned_TJK, kept))

    def _normed(self, x_TJK: Tensor) -> tuple[Tensor, Normed | None]:
        if self.query_norm is None or self.key_norm is None:
            return x_TJK, None
        query_THK, query = self.query_norm.forward(x_TJK[:, : self.heads])
        key_TGK, key = self.key_norm.forward(x_TJK[:, self.heads :])
        inverse_TJ1 = torch.cat((query.inverse, key.inverse), dim=1)
        return torch.cat((query_THK, key_TGK), dim=1), Normed(x_TJK, inverse_TJ1)

    def _normed_backward(self, slope_TJK: Tensor, kept: Normed | None) -> Tensor:
        if self.query_norm is None or self.key_norm is None or kept is None:
            return slope_TJK
        query, key = (
            Normed(kept.x[:, own], kept.inverse[:, own]) for own in (slice(self.heads), slice(self.heads, None))
        )
        return torch.cat(
            (
                self.query_norm.backward(slope_TJK[:, : self.heads], query),
                self.key_norm.backward(slope_TJK[:, self.heads :], key),
            ),
            dim=1,
        )

    def _forward_in_one_(self, all_TLK: Tensor) -> Normed | None:
        from tuningfork.modeling.kernels import rotation as kernel  # noqa: PLC0415  imports Triton

        joint, turn, query, key = self.heads + self.key_heads, self.rotation, self.query_norm, self.key_norm
        if query is not None and key is not None:
            norms = kernel.HeadNorms(self.heads, query.weight, query.epsilon, key.weight, key.epsilon)
            tables = (None, None) if turn is None else (turn.cos_T1K, turn.sin_T1K)
            return Normed(*kernel.norm_rotate_(all_TLK, joint, norms, *tables))
        if turn is not None:
            kernel.rotate_(all_TLK, joint, turn.cos_T1K, turn.sin_T1K, 1)
        return None

    def _backward_in_one_(self, slope_TLK: Tensor, kept: Normed | None) -> None:
        from tuningfork.modeling.kernels import rotation as kernel  # noqa: PLC0415  imports Triton

        turn, query, key = self.rotation, self.query_norm, self.key_norm
        if query is not None and key is not None and kept is not None:
            norms = kernel.HeadNorms(self.heads, query.weight, query.epsilon, key.weight, key.epsilon)
            tables = (None, None) if turn is None else (turn.cos_T1K, turn.sin_T1K)
            kernel.norm_rotate_backward_(slope_TLK, kept.x, kept.inverse, norms, *tables)
        elif turn is not None:
            kernel.rotate_(slope_TLK, self.heads + self.key_heads, turn.cos_T1K, turn.sin_T1K, -1)


class Activation(Protocol):
    """The function on the MLP's gate, and its derivative; `kind` is its name among the kernels."""

    kind: Kind

    def __call__(self, gate: Tensor) -> Tensor:
        """Of each number."""
        ...

    def backward(self, slope: Tensor, gate: Tensor, into: Tensor) -> None:
        """Write the gradient of the gate."""
        ...


class Silu:
    """x * sigmoid(x)."""

    kind: Kind = "silu"

    def __call__(self, gate: Tensor) -> Tensor:
        """Of each number."""
        return silu(gate)

    def backward(self, slope: Tensor, gate: Tensor, into: Tensor) -> None:
        """Write the gradient of the gate."""
        torch.ops.aten.silu_backward.grad_input(slope, gate, grad_input=into)


class GeluTanh:
    """GELU in its approximation by tanh (Hendrycks & Gimpel 2016)."""

    kind: Kind = "gelu_tanh"

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


def gated(activation: Activation, both_TF: Tensor) -> tuple[Tensor, Tensor | None]:
    """act(gate) * up, where gate and up lie side by side; and act(gate), unless `gated_backward` computes it again."""
    if kernels.serve(both_TF, "pieces"):
        from tuningfork.modeling.kernels import gating  # noqa: PLC0415  imports Triton

        return gating.gated(activation.kind, both_TF), None
    gate_TF, up_TF = both_TF.chunk(2, dim=-1)
    acted_TF = activation(gate_TF)
    return acted_TF * up_TF, acted_TF


def gated_backward(activation: Activation, slope_TF: Tensor, both_TF: Tensor, acted_TF: Tensor | None) -> Tensor:
    """The gradient of gate and up, side by side; `acted_TF` is what came with `gated`."""
    if acted_TF is None:
        from tuningfork.modeling.kernels import gating  # noqa: PLC0415  imports Triton

        return gating.gated_backward(activation.kind, slope_TF, both_TF)
    gate_TF, up_TF = both_TF.chunk(2, dim=-1)
    slopes = torch.empty_like(both_TF)
    gate_slope, up_slope = slopes.chunk(2, dim=-1)
    activation.backward(slope_TF * up_TF, gate_TF, into=gate_slope)
    torch.mul(slope_TF, acted_TF, out=up_slope)
    return slopes
