"""Attention over the segments of a training pass, forwards and backwards.

Short segments of equal padded width are one batched product; what is kept for the way back is their weights. A
segment's numbers do not depend on its company: widths are rounded to a fixed step and not to the longest one there is,
so that a job's numbers are the same to the last bit beside others. Long segments, whose score matrices would not fit,
go through the fused kernels one by one.

Heads lie packed by token on the outside and batched by segment on the inside. One gather a layer leads in, one out, and
as many on the way back.

Shape suffixes: T packed tokens, H query heads, G key/value heads, L = H + 2 G, K head size, Z batched rows, X batched
products (segments times G), P their query rows (H / G heads below each other), W a padded width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from tuningfork.modeling.attention import attend_segment, visibility
from tuningfork.modeling.decoder.layer import How

_STEP = 16
"""Widths are rounded up to multiples of this."""

_WIDEST = 512
"""Beyond this width the score matrices of all layers take more memory than they save time."""


@dataclass(frozen=True, slots=True)
class _Bin:
    """Segments of one padded width: their first tokens and lengths."""

    width: int
    begins: tuple[int, ...]
    lengths: tuple[int, ...]

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Each padded place's token `BW` (padding repeats the segment's last one), and whether it is a real one."""
        column_W = torch.arange(self.width)
        begin_B1, length_B1 = torch.tensor(self.begins)[:, None], torch.tensor(self.lengths)[:, None]
        return begin_B1 + torch.minimum(column_W, length_B1 - 1), column_W < length_B1


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a layer's heads are batched. Rows are heads of tokens, K numbers each.

    `entering_Z` are the rows of `TL` that the batched queries, keys and values are made of, `borders` where each
    bin's three begin and end among them. `leaving` are the batched queries' rows for each row of `TH`, `returning` the
    batched rows for each of `TL`, and `slopes_Q` the rows of `TH` for the batched queries, of which `padding_Y` are
    none's.
    """

    entering_Z: Tensor
    borders: tuple[int, ...]
    query_borders: tuple[int, ...]
    leaving: Tensor
    returning: Tensor
    slopes_Q: Tensor
    padding_Y: Tensor

    @classmethod
    def of(cls, bins: Sequence[_Bin], tokens: int, heads: int, groups: int, device: torch.device) -> Self:
        """Lay out these bins for so many query heads and key/value heads."""
        total = heads + 2 * groups
        entering, real, slopes, query_real, borders, query_borders = [], [], [], [], [0], [0]
        for bin_ in bins:
            token_BW, real_BW = bin_.tokens()
            # B G N W: heads of one group lie one below the other.
            head_GN1 = torch.arange(heads).view(groups, -1, 1)
            group_G1 = heads + torch.arange(groups)[:, None]
            token_B11W, token_B1W = token_BW[:, None, None], token_BW[:, None]
            query = token_B11W * total + head_GN1
            key = token_B1W * total + group_G1
            for part in (query, key, key + groups):
                entering.append(part.flatten())
                real.append(real_BW.view(len(bin_.begins), *[1] * (part.ndim - 2), -1).expand(part.shape).flatten())
                borders.append(borders[-1] + part.numel())
            slopes.append((token_B11W * heads + head_GN1).flatten())
            query_real.append(real[-3])
            query_borders.append(query_borders[-1] + query.numel())
        entering_Z, slopes_Q, real_Q = torch.cat(entering), torch.cat(slopes), torch.cat(query_real)
        return cls(
            entering_Z=entering_Z.to(device),
            borders=tuple(borders),
            query_borders=tuple(query_borders),
            leaving=_inverse(slopes_Q, real_Q, tokens * heads).to(device),
            returning=_inverse(entering_Z, torch.cat(real), tokens * total).to(device),
            slopes_Q=slopes_Q.to(device),
            padding_Y=(~real_Q).nonzero().squeeze(1).to(device),
        )


def _inverse(sources: Tensor, real: Tensor, count: int) -> Tensor:
    """For each of `count` rows the place that it went to; rows that went nowhere (long segments') get place 0."""
    places = torch.zeros(count, dtype=torch.long)
    places[sources[real]] = real.nonzero().squeeze(1)
    return places


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the way back needs of one layer."""

    how: How
    heads: int
    groups: int
    entered_ZK: Tensor
    weights: list[Tensor]
    squashed: list[Tensor]
    long: list[tuple[Tensor, Tensor]]


@dataclass(slots=True)
class SegmentAttention:
    """A `TracedAttention` over independent causal segments, one after the other."""

    bins: Sequence[_Bin]
    long: Sequence[slice]
    tokens: int
    device: torch.device
    _layouts: dict[tuple[int, int], _Layout] = field(default_factory=dict)
    _masks: dict[tuple[int, int | None, int], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Self:
        """Lay out segments of these lengths."""
        by_width: dict[int, tuple[list[int], list[int]]] = {}
        long, begin = [], 0
        for length in lengths:
            width = -(-length // _STEP) * _STEP
            if width > _WIDEST:
                long.append(slice(begin, begin + length))
            else:
                begins, own = by_width.setdefault(width, ([], []))
                begins.append(begin)
                own.append(length)
            begin += length
        bins = [_Bin(width, tuple(begins), tuple(own)) for width, (begins, own) in sorted(by_width.items())]
        return cls(bins, long, begin, device)

    def forward(
        self,
        layer: int,  # noqa: ARG002  every layer attends alike
        how: How,
        all_TLK: Tensor,
        heads: int,
    ) -> tuple[Tensor, Any]:
        """The output `THK`, and what `backward` needs; see `TracedAttention`."""
        size, groups = all_TLK.shape[2], (all_TLK.shape[1] - heads) // 2
        weights: list[Tensor] = []
        squashed: list[Tensor] = []
        if self.bins:
            layout = self._layout(heads, groups)
            entered_ZK = all_TLK.view(-1, size).index_select(0, layout.entering_Z)
            output_QK = entered_ZK.new_empty(layout.query_borders[-1], size)
            for index, bin_ in enumerate(self.bins):
                query_XPK, key_XWK, value_XWK = self._parts(entered_ZK, layout, index, groups)
                scores_XPW = self._scores(bin_.width, how, query_XPK, key_XWK, squashed)
                weights.append(torch.softmax(scores_XPW, dim=-1))
                own = slice(*layout.query_borders[index : index + 2])
                torch.bmm(weights[-1], value_XWK, out=output_QK[own].view_as(query_XPK))
            out_THK = output_QK.index_select(0, layout.leaving).view(-1, heads, size)
        else:
            entered_ZK, out_THK = all_TLK.new_empty(0), all_TLK.new_empty(self.tokens, heads, size)
        long = []
        for rows in self.long:
            inputs_TLK = all_TLK[rows].detach().requires_grad_()
            with torch.enable_grad():
                output_THK = _long(how, inputs_TLK, heads, groups)
            out_THK[rows] = output_THK.detach()
            long.append((inputs_TLK, output_THK))
        return out_THK, _Kept(how, heads, groups, entered_ZK, weights, squashed, long)

    def backward(self, kept: Any, slope_THK: Tensor) -> Tensor:
        """The gradient `TLK` of queries, keys and values."""
        own: _Kept = kept
        if self.bins:
            returned_TLK = self._bins_backward(own, slope_THK)
        else:
            returned_TLK = slope_THK.new_empty(self.tokens, own.heads + 2 * own.groups, slope_THK.shape[2])
        for rows, (inputs_TLK, output_THK) in zip(self.long, own.long, strict=True):
            (returned_TLK[rows],) = torch.autograd.grad(output_THK, inputs_TLK, slope_THK[rows])
        return returned_TLK

    def _bins_backward(self, kept: _Kept, slope_THK: Tensor) -> Tensor:
        size, groups = slope_THK.shape[2], kept.groups
        layout, how = self._layout(kept.heads, groups), kept.how
        slope_QK = slope_THK.reshape(-1, size).index_select(0, layout.slopes_Q)
        slope_QK.index_fill_(0, layout.padding_Y, 0)
        back_ZK = torch.empty_like(kept.entered_ZK)
        for index, weights_XPW in enumerate(kept.weights):
            query_XPK, key_XWK, value_XWK = self._parts(kept.entered_ZK, layout, index, groups)
            into_query, into_key, into_value = self._parts(back_ZK, layout, index, groups)
            slope_XPK = slope_QK[slice(*layout.query_borders[index : index + 2])].view_as(query_XPK)
            torch.bmm(weights_XPW.transpose(1, 2), slope_XPK, out=into_value)
            slope_XPW = torch.bmm(slope_XPK, value_XWK.transpose(1, 2))
            slope_XPW = torch.ops.aten._softmax_backward_data(slope_XPW, weights_XPW, -1, weights_XPW.dtype)  # noqa: SLF001
            if kept.squashed:
                slope_XPW = (slope_XPW * (1 - kept.squashed[index].square())).to(slope_XPW.dtype)
            torch.baddbmm(into_query, slope_XPW, key_XWK, beta=0, alpha=how.scaling, out=into_query)
            torch.baddbmm(into_key, slope_XPW.transpose(1, 2), query_XPK, beta=0, alpha=how.scaling, out=into_key)
        return back_ZK.index_select(0, layout.returning).view(len(slope_THK), -1, size)

    def _scores(self, width: int, how: How, query_XPK: Tensor, key_XWK: Tensor, squashed: list[Tensor]) -> Tensor:
        """Scaled, squashed and masked scores `XPW`; what the squashing gave is appended to `squashed`."""
        window = how.sliding_window if how.sliding_window is not None and how.sliding_window < width else None
        mask_PW = self._mask(width, window, query_XPK.shape[1], query_XPK.dtype)
        if how.softcap is None:
            return torch.baddbmm(mask_PW, query_XPK, key_XWK.transpose(1, 2), alpha=how.scaling)
        scores_XPW = torch.bmm(query_XPK, key_XWK.transpose(1, 2)).float()
        squashed.append(scores_XPW.mul_(how.scaling / how.softcap).tanh_())
        return (squashed[-1] * how.softcap).add_(mask_PW).to(query_XPK.dtype)

    def _parts(self, batched_ZK: Tensor, layout: _Layout, index: int, groups: int) -> list[Tensor]:
        """A bin's queries `XPK`, keys and values `XWK`, as views."""
        products, size = len(self.bins[index].begins) * groups, batched_ZK.shape[1]
        borders = layout.borders[3 * index : 3 * index + 4]
        return [batched_ZK[begin:end].view(products, -1, size) for begin, end in pairwise(borders)]

    def _layout(self, heads: int, groups: int) -> _Layout:
        found = self._layouts.get((heads, groups))
        if found is None:
            found = self._layouts[heads, groups] = _Layout.of(self.bins, self.tokens, heads, groups, self.device)
        return found

    def _mask(self, width: int, window: int | None, rows: int, dtype: torch.dtype) -> Tensor:
        found = self._masks.get((width, window, rows))
        if found is None:
            visible_WW = visibility(0, width, window, self.device)
            mask_WW = torch.zeros(width, width, device=self.device, dtype=dtype).masked_fill_(~visible_WW, -torch.inf)
            found = self._masks[width, window, rows] = mask_WW.repeat(rows // width, 1)
        return found


def _long(how: How, all_TLK: Tensor, heads: int, groups: int) -> Tensor:
    query_HTK, key_GTK, value_GTK = torch.split(all_TLK.transpose(0, 1), [heads, groups, groups])
    return attend_segment(
        query_HTK,
        key_GTK,
        value_GTK,
        scaling=how.scaling,
        sliding_window=how.sliding_window,
        softcap=how.softcap,
    )
