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
from itertools import accumulate, pairwise
from typing import Any, Self

import torch
from torch import Tensor

from tuningfork.modeling.attention import attend_segment
from tuningfork.modeling.decoder.layer import How
from tuningfork.training.segment_layout import Bin, Layout, Piece, padded

_WIDEST = 512
"""Beyond this width the score matrices of all layers take more memory than they save time."""


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

    bins: Sequence[Bin]
    long: Sequence[Piece]
    tokens: int
    device: torch.device
    _layouts: dict[tuple[int, int], Layout] = field(default_factory=dict)
    _masks: dict[tuple[int, int, int | None, int], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, continued: Sequence[int | None] = ()) -> Self:
        """Lay out pieces of these lengths.

        Args:
            lengths: of the pieces, which lie end to end.
            device: where they are computed.
            continued: for each piece which other one comes before it, in its own row of tokens; None: it begins one.

        """
        begins = [0, *accumulate(lengths)]
        whole = [Piece(begin, end) for begin, end in pairwise(begins)]
        pieces = [
            piece if before is None else Piece(piece.begin, piece.end, whole[before].begin, whole[before].length)
            for piece, before in zip(whole, continued or [None] * len(whole), strict=True)
        ]
        by_width: dict[tuple[int, int], list[Piece]] = {}
        long = []
        for piece in pieces:
            if padded(piece.length) > _WIDEST or piece.shared > 2 * _WIDEST:
                long.append(piece)
            else:
                by_width.setdefault((padded(piece.length), piece.shared), []).append(piece)
        bins = [Bin(width, shared, tuple(own)) for (width, shared), own in sorted(by_width.items())]
        return cls(bins, long, begins[-1], device)

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
                scores_XPW = self._scores(bin_, how, query_XPK, key_XWK, squashed)
                weights.append(torch.softmax(scores_XPW, dim=-1))
                own = slice(*layout.query_borders[index : index + 2])
                torch.bmm(weights[-1], value_XWK, out=output_QK[own].view_as(query_XPK))
            out_THK = output_QK.index_select(0, layout.leaving).view(-1, heads, size)
        else:
            entered_ZK, out_THK = all_TLK.new_empty(0), all_TLK.new_empty(self.tokens, heads, size)
        long = []
        for piece in self.long:
            inputs_SLK = all_TLK[self._rows(piece)].detach().requires_grad_()
            with torch.enable_grad():
                output_THK = _long(how, inputs_SLK, heads, groups, piece.length)
            out_THK[piece.begin : piece.end] = output_THK.detach()
            long.append((inputs_SLK, output_THK))
        return out_THK, _Kept(how, heads, groups, entered_ZK, weights, squashed, long)

    def backward(self, kept: Any, slope_THK: Tensor) -> Tensor:
        """The gradient `TLK` of queries, keys and values."""
        own: _Kept = kept
        if self.bins:
            returned_TLK = self._bins_backward(own, slope_THK)
        else:
            returned_TLK = slope_THK.new_empty(self.tokens, own.heads + 2 * own.groups, slope_THK.shape[2])
        for piece, (inputs_SLK, output_THK) in zip(self.long, own.long, strict=True):
            (slope_SLK,) = torch.autograd.grad(output_THK, inputs_SLK, slope_THK[piece.begin : piece.end])
            returned_TLK[piece.begin : piece.end] = slope_SLK[piece.shared :]
            # What is shared comes before whoever shares it, and has its own gradient already.
            returned_TLK[piece.before : piece.before + piece.shared] += slope_SLK[: piece.shared]
        return returned_TLK

    @staticmethod
    def _rows(piece: Piece) -> slice | Tensor:
        """The tokens that a piece looks at."""
        if not piece.shared:
            return slice(piece.begin, piece.end)
        before = torch.arange(piece.before, piece.before + piece.shared)
        return torch.cat((before, torch.arange(piece.begin, piece.end)))

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
        if layout.returning is not None:
            return back_ZK.index_select(0, layout.returning).view(len(slope_THK), -1, size)
        # Shared tokens get a share of their gradient from each piece: summed in fp32.
        rows = self.tokens * (kept.heads + 2 * groups)
        summed = torch.zeros(rows, size, dtype=torch.float32, device=back_ZK.device)
        summed.index_add_(0, layout.sources_R, back_ZK.index_select(0, layout.real_R).float())
        return summed.to(back_ZK.dtype).view(self.tokens, -1, size)

    def _scores(self, bin_: Bin, how: How, query_XPK: Tensor, key_XWK: Tensor, squashed: list[Tensor]) -> Tensor:
        """Scaled, squashed and masked scores `XPW`; what the squashing gave is appended to `squashed`."""
        reach = bin_.shared + bin_.width
        window = how.sliding_window if how.sliding_window is not None and how.sliding_window < reach else None
        mask_PW = self._mask(bin_, window, query_XPK.shape[1], query_XPK.dtype)
        if how.softcap is None:
            return torch.baddbmm(mask_PW, query_XPK, key_XWK.transpose(1, 2), alpha=how.scaling)
        scores_XPW = torch.bmm(query_XPK, key_XWK.transpose(1, 2)).float()
        squashed.append(scores_XPW.mul_(how.scaling / how.softcap).tanh_())
        return (squashed[-1] * how.softcap).add_(mask_PW).to(query_XPK.dtype)

    def _parts(self, batched_ZK: Tensor, layout: Layout, index: int, groups: int) -> list[Tensor]:
        """A bin's queries `XPK`, keys and values `XWK`, as views."""
        products, size = len(self.bins[index].pieces) * groups, batched_ZK.shape[1]
        borders = layout.borders[3 * index : 3 * index + 4]
        return [batched_ZK[begin:end].view(products, -1, size) for begin, end in pairwise(borders)]

    def _layout(self, heads: int, groups: int) -> Layout:
        found = self._layouts.get((heads, groups))
        if found is None:
            found = self._layouts[heads, groups] = Layout.of(self.bins, self.tokens, heads, groups, self.device)
        return found

    def _mask(self, bin_: Bin, window: int | None, rows: int, dtype: torch.dtype) -> Tensor:
        key = (bin_.width, bin_.shared, window, rows)
        found = self._masks.get(key)
        if found is None:
            visible_WS = bin_.visible(window)
            mask_WS = torch.zeros(visible_WS.shape, dtype=dtype).masked_fill_(~visible_WS, -torch.inf)
            found = self._masks[key] = mask_WS.repeat(rows // bin_.width, 1).to(self.device)
        return found


def _long(how: How, all_SLK: Tensor, heads: int, groups: int, tokens: int) -> Tensor:
    query_HSK, key_GSK, value_GSK = torch.split(all_SLK.transpose(0, 1), [heads, groups, groups])
    return attend_segment(
        query_HSK[:, -tokens:],
        key_GSK,
        value_GSK,
        scaling=how.scaling,
        sliding_window=how.sliding_window,
        softcap=how.softcap,
    )
