"""The kernels in Triton, one for each operation. Importing this module imports Triton.

All of them compute in fp32, whatever the tensors' types.

Shape suffixes: as in `base`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tuningfork.modeling.kernels import adapter_rows, gating, norms, paged_attention, rotation
from tuningfork.modeling.kernels.base import (
    Activation,
    AdapterRows,
    HeadNorms,
    Kernels,
    NewTokens,
    Normed,
    RmsNorm,
    Rotation,
    StreamGradient,
)


class TritonLayers:
    """See `LayerKernels`."""

    def norm(self, norm: RmsNorm, x: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Normed]:
        """See `LayerKernels.norm`."""
        y, inverse = norms.rms_norm(x, norm.weight, norm.epsilon, dtype)
        return y, Normed(x, inverse)

    def add_and_norm(self, norm: RmsNorm, x_TD: Tensor, more_TD: Tensor, dtype: torch.dtype) -> tuple[Tensor, Normed]:
        """See `LayerKernels.add_and_norm`."""
        sum_TD, y_TD, inverse = norms.add_rms_norm(x_TD, more_TD, norm.weight, norm.epsilon, dtype)
        return y_TD, Normed(sum_TD, inverse)

    def norm_backward(
        self,
        norm: RmsNorm,
        grad: Tensor,
        normed: Normed,
        rest: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """See `LayerKernels.norm_backward`."""
        return norms.rms_norm_backward(grad, normed.x, normed.inverse, norm.weight, rest, dtype)

    def norm_backward_to_stream(
        self, norm: RmsNorm, grad: Tensor, normed: Normed, rest: Tensor | None, products: torch.dtype
    ) -> StreamGradient:
        """See `LayerKernels.norm_backward_to_stream`."""
        if products == torch.float32:
            return StreamGradient(self.norm_backward(norm, grad, normed, rest))
        both = norms.rms_norm_backward_rounded(grad, normed.x, normed.inverse, norm.weight, rest, products)
        return StreamGradient(*both)

    def rotate_(self, all_TLK: Tensor, heads: int, rotation_: Rotation, direction: Literal[1, -1]) -> None:
        """See `LayerKernels.rotate_`."""
        rotation.rotate_(all_TLK, heads, rotation_.cos_T1K, rotation_.sin_T1K, direction)

    def norm_and_rotate_(self, all_TLK: Tensor, heads: int, norms: HeadNorms, rotation_: Rotation | None) -> Normed:
        """See `LayerKernels.norm_and_rotate_`."""
        return Normed(*rotation.norm_rotate_(all_TLK, heads, norms, *_tables(rotation_)))

    def norm_and_rotate_backward_(
        self, grad_TLK: Tensor, kept: Normed, norms: HeadNorms, rotation_: Rotation | None
    ) -> None:
        """See `LayerKernels.norm_and_rotate_backward_`."""
        rotation.norm_rotate_backward_(grad_TLK, kept.x, kept.inverse, norms, *_tables(rotation_))

    def gated(self, activation: Activation, both_TF: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `LayerKernels.gated`; the backward pass computes act(gate) again."""
        return gating.gated(activation, both_TF), None

    def gated_backward(
        self,
        activation: Activation,
        grad_TF: Tensor,
        both_TF: Tensor,
        acted_TF: Tensor | None,  # noqa: ARG002  computed again
    ) -> Tensor:
        """See `LayerKernels.gated_backward`."""
        return gating.gated_backward(activation, grad_TF, both_TF)


def _tables(rotation_: Rotation | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if rotation_ is None else (rotation_.cos_T1K, rotation_.sin_T1K)


class TritonAdapters:
    """See `AdapterKernels`."""

    def rows(
        self,
        rank: int,
        places_B: Tensor,
        rows_B: Tensor | None = None,
        *,
        may_be_negative: bool = False,  # noqa: ARG002  the kernel skips negative places, whether there are any or not
    ) -> AdapterRows:
        """See `AdapterKernels.rows`."""
        return _TritonRows(rank, places_B, rows_B)


@dataclass(frozen=True, slots=True)
class _TritonRows:
    """See `AdapterRows`."""

    rank: int
    places_B: Tensor
    rows_B: Tensor | None

    def add(self, a_CDR: Tensor, bs_CRO: Sequence[Tensor], x_YD: Tensor, y_YO: Tensor) -> None:
        adapter_rows.add_rows(x_YD, a_CDR, bs_CRO, self.rank, self.places_B, y_YO, self.rows_B)


class TritonAttention:
    """See `PagedAttention`."""

    def attend_rows(
        self,
        query_BHK: Tensor,
        keys_GXK: Tensor,
        values_GXV: Tensor,
        pages_BP: Tensor,
        ends_B: Tensor,
        *,
        page_tokens: int,
        scaling: float,
        sliding_window: int | None,
        softcap: float | None,
        new: NewTokens | None = None,
        splits: int | None = None,
    ) -> Tensor:
        """See `PagedAttention.attend_rows`."""
        return paged_attention.attend_rows(
            query_BHK,
            keys_GXK,
            values_GXV,
            pages_BP,
            ends_B,
            page_tokens=page_tokens,
            scaling=scaling,
            sliding_window=sliding_window,
            softcap=softcap,
            new=new,
            splits=splits,
        )


TRITON = Kernels(layers=TritonLayers(), adapters=TritonAdapters(), attention=TritonAttention())
