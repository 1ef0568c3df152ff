"""The kernels in plain torch: the reference for tests, and the kernels of devices without Triton.

The residual stream and elementwise operations are fp32. On a CPU this is twice as fast as in bfloat16, which has to be
converted at each operation, and it rounds less. Matrix products take and return the base's dtype.

Shape suffixes: as in `base`; N table rows that are summed for one output row, M their width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from tuningfork.modeling.kernels.base import (
    Activation,
    AdapterRows,
    HeadNorms,
    Kernels,
    Normed,
    RmsNorm,
    Rotation,
    StreamGradient,
)

_SUM = 0
"""The mode "sum" of torch's embedding bags."""


@dataclass(frozen=True, slots=True)
class PlainLayers:
    """See `LayerKernels`."""

    def norm(self, norm: RmsNorm, x: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Normed]:
        """See `LayerKernels.norm`."""
        x = x.float()
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(norm.epsilon).rsqrt_()
        return (x * inverse).mul_(norm.weight).to(dtype), Normed(x, inverse)

    def add_and_norm(self, norm: RmsNorm, x_TD: Tensor, more_TD: Tensor, dtype: torch.dtype) -> tuple[Tensor, Normed]:
        """See `LayerKernels.add_and_norm`."""
        return self.norm(norm, x_TD + more_TD, dtype)

    def norm_backward(
        self,
        norm: RmsNorm,
        grad: Tensor,
        normed: Normed,
        rest: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """See `LayerKernels.norm_backward`."""
        unit = normed.x * normed.inverse
        inner = grad.float() * norm.weight
        shared = (inner * unit).mean(dim=-1, keepdim=True)
        result = inner.addcmul_(unit, shared, value=-1).mul_(normed.inverse)
        return (result if rest is None else result.add_(rest)).to(dtype)

    def norm_backward_to_stream(
        self,
        norm: RmsNorm,
        grad: Tensor,
        normed: Normed,
        rest: Tensor | None,
        products: torch.dtype,  # noqa: ARG002  rounding would be a separate operation here, so callers do it if needed
    ) -> StreamGradient:
        """See `LayerKernels.norm_backward_to_stream`."""
        return StreamGradient(self.norm_backward(norm, grad, normed, rest))

    def rotate_(self, all_TLK: Tensor, heads: int, rotation: Rotation, direction: Literal[1, -1]) -> None:
        """See `LayerKernels.rotate_`."""
        joint_TJK = all_TLK[:, :heads]
        joint_TJK.copy_(rotated(joint_TJK.float(), rotation, direction))

    def norm_and_rotate_(self, all_TLK: Tensor, heads: int, norms: HeadNorms, rotation: Rotation | None) -> Normed:
        """See `LayerKernels.norm_and_rotate_`."""
        joint_TJK = all_TLK[:, :heads]
        x_TJK = joint_TJK.to(torch.float32, copy=True)
        query_THK, query = self.norm(norms.query, x_TJK[:, : norms.queries])
        key_TGK, key = self.norm(norms.key, x_TJK[:, norms.queries :])
        turned_TJK = torch.cat((query_THK, key_TGK), dim=1)
        joint_TJK.copy_(turned_TJK if rotation is None else rotated(turned_TJK, rotation, 1))
        return Normed(x_TJK, torch.cat((query.inverse, key.inverse), dim=1))

    def norm_and_rotate_backward_(
        self, grad_TLK: Tensor, kept: Normed, norms: HeadNorms, rotation: Rotation | None
    ) -> None:
        """See `LayerKernels.norm_and_rotate_backward_`."""
        joint_TJK = grad_TLK[:, : kept.x.shape[1]]
        turned_TJK = joint_TJK.float()
        if rotation is not None:
            turned_TJK = rotated(turned_TJK, rotation, -1)
        own, others = slice(norms.queries), slice(norms.queries, None)
        query = self.norm_backward(norms.query, turned_TJK[:, own], Normed(kept.x[:, own], kept.inverse[:, own]))
        key = self.norm_backward(norms.key, turned_TJK[:, others], Normed(kept.x[:, others], kept.inverse[:, others]))
        joint_TJK.copy_(torch.cat((query, key), dim=1))

    def gated(self, activation: Activation, both_TF: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `LayerKernels.gated`."""
        gate_TF, up_TF = both_TF.chunk(2, dim=-1)
        acted_TF = silu(gate_TF) if activation == "silu" else gelu(gate_TF, approximate="tanh")
        return acted_TF * up_TF, acted_TF

    def gated_backward(
        self, activation: Activation, grad_TF: Tensor, both_TF: Tensor, acted_TF: Tensor | None
    ) -> Tensor:
        """See `LayerKernels.gated_backward`."""
        assert acted_TF is not None  # noqa: S101  `gated` gives it
        gate_TF, up_TF = both_TF.chunk(2, dim=-1)
        grads = torch.empty_like(both_TF)
        gate_grad, up_grad = grads.chunk(2, dim=-1)
        if activation == "silu":
            torch.ops.aten.silu_backward.grad_input(grad_TF * up_TF, gate_TF, grad_input=gate_grad)
        else:
            torch.ops.aten.gelu_backward.grad_input(grad_TF * up_TF, gate_TF, approximate="tanh", grad_input=gate_grad)
        torch.mul(grad_TF, acted_TF, out=up_grad)
        return grads


def rotated(x_THK: Tensor, rotation: Rotation, direction: Literal[1, -1]) -> Tensor:
    """The heads with their first features rotated (back if `direction` is -1). `x_THK` is fp32 and is not changed."""
    size = rotation.cos_T1K.shape[-1]
    if size < x_THK.shape[-1]:
        first_THK = _rotated_whole(x_THK[..., :size], rotation, direction)
        return torch.cat((first_THK, x_THK[..., size:]), dim=-1)
    return _rotated_whole(x_THK, rotation, direction)


def _rotated_whole(x_THK: Tensor, rotation: Rotation, direction: int) -> Tensor:
    swapped_THK = x_THK.roll(x_THK.shape[-1] // 2, -1)
    return (x_THK * rotation.cos_T1K).addcmul_(swapped_THK, rotation.sin_T1K, value=direction)


@dataclass(frozen=True, slots=True)
class PlainAdapters:
    """See `AdapterKernels`."""

    def rows(
        self, rank: int, places_B: Tensor, rows_B: Tensor | None = None, *, may_be_negative: bool = False
    ) -> AdapterRows:
        """See `AdapterKernels.rows`."""
        if not may_be_negative:
            return _PlainRows(rank, rows_B, places_B)
        # A row with a negative index reads the adapter at index 0; its result is not added.
        return _PlainRows(rank, rows_B, places_B.int().clamp_(min=0), without_B1=places_B[:, None] < 0)


@dataclass(frozen=True, slots=True)
class _PlainRows:
    """See `AdapterRows`. `without_B1` marks the rows without an adapter.

    `bags` holds the inputs of embedding bags by the number N of table rows in a bag: the table rows' indices, and where
    each output row's bag begins.
    """

    rank: int
    rows_B: Tensor | None
    places_B: Tensor
    without_B1: Tensor | None = None
    bags: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def add(self, a_CDR: Tensor, bs_CRO: Sequence[Tensor], x_YD: Tensor, y_YO: Tensor) -> None:
        x = x_YD if self.rows_B is None else x_YD.index_select(0, self.rows_B)
        layers = len(bs_CRO)
        low_LBR = self._summed(x, a_CDR).view(len(x), layers, self.rank)
        if layers > 1:
            low_LBR = low_LBR.transpose(0, 1).contiguous()
        begin = 0
        for index, b_CRO in enumerate(bs_CRO):
            end = begin + b_CRO.shape[2]
            added = self._summed(low_LBR[index] if layers > 1 else low_LBR[:, 0], b_CRO)
            if self.without_B1 is not None:
                added.masked_fill_(self.without_B1, 0)
            if self.rows_B is None:
                y_YO[:, begin:end].add_(added)
            else:
                y_YO[:, begin:end].index_add_(0, self.rows_B, added)
            begin = end

    def _summed(self, weights_BN: Tensor, table_CNM: Tensor) -> Tensor:
        """For each row b the sum over n of weights[b, n] * table[places[b], n]: `BM`."""
        if table_CNM.device.type != "cpu":
            return torch.bmm(weights_BN[:, None], table_CNM.index_select(0, self.places_B))[:, 0]
        indices, begins_B = self._bag(table_CNM.shape[1])
        table = table_CNM.view(-1, table_CNM.shape[2])
        # The private operator is called since `torch.nn.functional.embedding_bag` would compute the indices at each
        # call.
        found = torch._embedding_bag_forward_only(  # noqa: SLF001
            table, indices, begins_B, False, _SUM, False, weights_BN.reshape(-1)
        )
        return found[0]

    def _bag(self, count: int) -> tuple[Tensor, Tensor]:
        found = self.bags.get(count)
        if found is None:
            indices = (self.places_B[:, None] * count + torch.arange(count, dtype=torch.int32)).flatten()
            begins_B = torch.arange(0, len(indices), count, dtype=torch.int32)
            found = self.bags[count] = indices, begins_B
        return found


PLAIN = Kernels(layers=PlainLayers(), adapters=PlainAdapters(), attention=None)
