"""The protocols of a set of kernels, and the records that kernels take and return.

`plain` implements the protocols by ordinary operations of torch, for every device, and is the reference.
`triton_kernels` implements them for NVIDIA GPUs. A `Kernels` object is chosen when a base is loaded
(`choice.kernels_for`) and passed down.

Names with `grad` are gradients of the loss with respect to an intermediate value; those of weights are `gradients`.

Shape suffixes: T tokens, D hidden features, F features of the MLP, H query heads, G key/value heads, J = H + G, L = H +
2 G, K head size, V size of values, B rows, Y all rows, C adapters that a table has room for, R ranks and O outputs of
all layers of a group side by side, X places of the cache, P pages of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

Activation = Literal["silu", "gelu_tanh"]
"""The function on an MLP's gate: x * sigmoid(x), or GELU approximated by tanh (Hendrycks & Gimpel 2016)."""


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension (Zhang & Sennrich 2019).

    `weight` is the whole factor, in fp32 (Gemma's files store the factor minus one).
    """

    weight: Tensor
    epsilon: float


@dataclass(frozen=True, slots=True)
class Normed:
    """What a norm keeps for its backward pass: its input x, and 1 / sqrt(mean(x^2) + epsilon) of each row, in fp32."""

    x: Tensor
    inverse: Tensor


@dataclass(frozen=True, slots=True)
class StreamGradient:
    """The gradient of the residual stream.

    `exact` is in fp32; `rounded` is its copy in the type in which matrix products are computed, None if there is none.
    """

    exact: Tensor
    rounded: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Tensor:
        """The gradient in `dtype`, the type in which matrix products are computed."""
        return self.exact.to(dtype) if self.rounded is None else self.rounded


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary position embedding (Su et al. 2021) of the first features of each head.

    Feature i of the first half is rotated with feature i of the second half. The first half of `sin_T1K` is negated: x
    * cos + roll(x, K / 2) * sin. Both tables are fp32.
    """

    cos_T1K: Tensor
    sin_T1K: Tensor

    @classmethod
    def of(cls, cos_TK: Tensor, sin_TK: Tensor) -> "Rotation":
        """The rotation by these cosines and sines, which transformers' rotary embedding returns; in fp32."""
        half = cos_TK.shape[-1] // 2
        signed_TK = torch.cat((-sin_TK[:, :half], sin_TK[:, half:]), dim=-1)
        return cls(cos_TK[:, None], signed_TK[:, None])


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """The norm of the first `queries` heads, which are query heads, and the norm of the key heads after them."""

    queries: int
    query: RmsNorm
    key: RmsNorm


@dataclass(frozen=True, slots=True)
class NewTokens:
    """Keys and values of the rows' new tokens, and the indices in the cache to write them to."""

    key_BGK: Tensor
    value_BGV: Tensor
    places_B: Tensor


class LayerKernels(Protocol):
    """The operations between a decoder layer's matrix products, each with its backward pass."""

    def norm(self, norm: RmsNorm, x: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Normed]:
        """The norm of each row, in `dtype`, and what its backward pass needs.

        `x` is `TD` or `THK` in any floating-point type.
        """
        ...

    def add_and_norm(self, norm: RmsNorm, x_TD: Tensor, more_TD: Tensor, dtype: torch.dtype) -> tuple[Tensor, Normed]:
        """Like `norm` of x + more; the sum is returned as `Normed.x` in fp32. `x_TD` is fp32, `more_TD` of any type."""
        ...

    def norm_backward(
        self,
        norm: RmsNorm,
        grad: Tensor,
        normed: Normed,
        rest: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """The gradient of x, plus `rest`, in `dtype`. `grad` is the norm's gradient, in any floating-point type."""
        ...

    def norm_backward_to_stream(
        self, norm: RmsNorm, grad: Tensor, normed: Normed, rest: Tensor | None, products: torch.dtype
    ) -> StreamGradient:
        """Like `norm_backward`, for the residual stream: may also round the gradient to the type `products`."""
        ...

    def rotate_(self, all_TLK: Tensor, heads: int, rotation: Rotation, direction: Literal[1, -1]) -> None:
        """Rotate the first `heads` heads in place; direction -1 is the backward pass."""
        ...

    def norm_and_rotate_(self, all_TLK: Tensor, heads: int, norms: HeadNorms, rotation: Rotation | None) -> Normed:
        """Normalize each of the first `heads` heads and rotate them, in place.

        Returns what the backward pass needs. `rotation` None: only normalize.
        """
        ...

    def norm_and_rotate_backward_(
        self, grad_TLK: Tensor, kept: Normed, norms: HeadNorms, rotation: Rotation | None
    ) -> None:
        """The backward pass of `norm_and_rotate_`, in place: from the gradient of its output to that of its input."""
        ...

    def gated(self, activation: Activation, both_TF: Tensor) -> tuple[Tensor, Tensor | None]:
        """act(gate) * up, where `both_TF` is gate and up side by side; and act(gate).

        The second result is None if `gated_backward` computes act(gate) again.
        """
        ...

    def gated_backward(
        self, activation: Activation, grad_TF: Tensor, both_TF: Tensor, acted_TF: Tensor | None
    ) -> Tensor:
        """The gradient of gate and up, side by side; `acted_TF` is the second result of `gated`."""
        ...


class AdapterRows(Protocol):
    """The adapters of a pass's rows, all of one rank, one adapter for each row. One object is used for all layers."""

    def add(self, a_CDR: Tensor, bs_CRO: Sequence[Tensor], x_YD: Tensor, y_YO: Tensor) -> None:
        """Add x A B of each row's adapter to `y_YO`.

        Args:
            a_CDR: the adapters' A, all layers of a group side by side; contiguous.
            bs_CRO: B of each layer, with the adapter's scale in it; contiguous.
            x_YD: the group's inputs.
            y_YO: the outputs of the group's layers, side by side.

        """
        ...


class AdapterKernels(Protocol):
    """LoRA products of rows that each have their own adapter."""

    def rows(
        self, rank: int, places_B: Tensor, rows_B: Tensor | None = None, *, may_be_negative: bool = False
    ) -> AdapterRows:
        """Prepare the adapters of this rank for these rows.

        Args:
            rank: of one layer.
            places_B: the index of each row's adapter in the tables.
            rows_B: which rows of x and y these are, each at most once; None: all, in order.
            may_be_negative: whether an index may be negative; that row has no adapter in these tables.

        """
        ...


class PagedAttention(Protocol):
    """Attention of rows with one new token each, over keys and values in the cache's pages."""

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
        """The attention output `BHV` of each row's last token.

        Args:
            query_BHK: the queries of the last tokens.
            keys_GXK: the cache's keys; token t of page p is at p * page_tokens + t; contiguous.
            values_GXV: the cache's values, likewise.
            pages_BP: each row's pages from its first token on; entries after its last page are ignored.
            ends_B: how many tokens each row has, the last included.
            page_tokens: how many tokens a page holds.
            scaling: see `AttentionPlan.attend`.
            sliding_window: likewise.
            softcap: likewise.
            new: keys and values of the last tokens, to be written to the cache; None: the cache has them already.
            splits: how many programs share the tokens of a row and head; None: as many as keep the device busy.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """The kernels of one base, in three families that are chosen independently of each other.

    `attention` None: the engine gathers pages and uses plain operations, instead of a kernel that reads pages in place.
    """

    layers: LayerKernels
    adapters: AdapterKernels
    attention: PagedAttention | None
