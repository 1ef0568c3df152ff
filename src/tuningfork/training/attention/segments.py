"""The forward and backward pass of attention over the segments of a training pass.

Short segments of equal padded width are one batched product, whose attention weights are kept for the backward pass.
Widths are rounded up to a fixed step, not to the longest segment of the pass, so that a job's results do not depend, to
the last bit, on the other jobs in the pass. Long segments, whose score matrices would not fit into memory, are computed
by the fused kernels, one by one; on a CPU very long ones in tiles, between which the pass can be suspended.

Outside this module heads are packed by token; inside they are batched by segment. Each layer takes one gather at the
beginning and one at the end, and two more in the backward pass.

Shape suffixes: T packed tokens, H query heads, G key/value heads, L = H + 2 G, K head size, Z batched rows, X batched
products (segments times G), P their query rows (of H / G heads together), W a padded width.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Self

import torch
from torch import Tensor

from tuningfork.modeling.attention.plans import AttentionParameters, attend_segment
from tuningfork.modeling.decoder.layer import TracedAttention
from tuningfork.modeling.decoder.pieces import PIECE_PRODUCTS, run_to_end
from tuningfork.training.attention.segment_layout import Bin, HeadLayout, TokenRange, padded
from tuningfork.training.attention.tiles import Tiles

WIDEST = 512
"""The largest padded width of batched segments. The score matrices of wider ones, kept for all layers, take too much
memory for the time that they save."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is kept of a long range that is one piece: its inputs `SLK` and its output `THK`, with the graph between."""

    inputs_SLK: Tensor
    output_THK: Tensor


@dataclass(frozen=True, slots=True)
class _Tiled:
    """What is kept of a long range that is computed in tiles; see `Tiles`."""

    tiles: Tiles
    inputs_SLK: Tensor
    output_THK: Tensor
    log_sums_HT: Tensor


@dataclass(frozen=True, slots=True)
class _Kept:
    """What one layer keeps for the backward pass."""

    parameters: AttentionParameters
    heads: int
    groups: int
    entered_ZK: Tensor
    weights: list[Tensor]
    squashed: list[Tensor]
    long: list[_Whole | _Tiled]


@dataclass(slots=True)
class SegmentAttention(TracedAttention):
    """A `TracedAttention` with causal attention within segments, one after the other.

    `piece` is about how many multiplications are computed between two places where it can be suspended.
    """

    bins: Sequence[Bin]
    long: Sequence[TokenRange]
    tokens: int
    device: torch.device
    piece: int = PIECE_PRODUCTS
    _layouts: dict[tuple[int, int], HeadLayout] = field(default_factory=dict)
    _masks: dict[tuple[int, int, int | None, int], Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        lengths: Sequence[int],
        device: torch.device,
        prefixes: Sequence[int | None] = (),
        *,
        piece: int = PIECE_PRODUCTS,
    ) -> Self:
        """The attention of token ranges of these lengths.

        Args:
            lengths: the lengths of the ranges, which are one after the other.
            device: where attention is computed.
            prefixes: for each range the index of the range that is its prefix, or None; see `Pack`.
            piece: about how many multiplications of a long range are one piece.

        """
        begins = [0, *accumulate(lengths)]
        whole = [TokenRange(begin, end) for begin, end in pairwise(begins)]
        ranges = [
            each if prefix is None else TokenRange(each.begin, each.end, whole[prefix].begin, whole[prefix].length)
            for each, prefix in zip(whole, prefixes or [None] * len(whole), strict=True)
        ]
        by_width: dict[tuple[int, int], list[TokenRange]] = {}
        long = []
        for each in ranges:
            if padded(each.length) > WIDEST or each.prefix_tokens > 2 * WIDEST:
                long.append(each)
            else:
                by_width.setdefault((padded(each.length), each.prefix_tokens), []).append(each)
        bins = [Bin(width, prefix_tokens, tuple(own)) for (width, prefix_tokens), own in sorted(by_width.items())]
        return cls(bins, long, begins[-1], device, piece)

    def forward(
        self,
        layer: int,
        parameters: AttentionParameters,
        all_TLK: Tensor,
        heads: int,
    ) -> tuple[Tensor, Any]:
        """The output `THK`, and what `backward` needs; see `TracedAttention`."""
        return run_to_end(self.forward_in_parts(layer, parameters, all_TLK, heads))

    def forward_in_parts(
        self,
        layer: int,  # noqa: ARG002  every layer attends alike
        parameters: AttentionParameters,
        all_TLK: Tensor,
        heads: int,
    ) -> Generator[None, None, tuple[Tensor, Any]]:
        """Like `forward`; yields after each tile, and after each long range."""
        size, groups = all_TLK.shape[2], (all_TLK.shape[1] - heads) // 2
        weights: list[Tensor] = []
        squashed: list[Tensor] = []
        if self.bins:
            layout = self._layout(heads, groups)
            entered_ZK = all_TLK.view(-1, size).index_select(0, layout.entering_Z)
            output_QK = entered_ZK.new_empty(layout.query_borders[-1], size)
            for index, bin_ in enumerate(self.bins):
                query_XPK, key_XWK, value_XWK = self._parts(entered_ZK, layout, index, groups)
                scores_XPW = self._scores(bin_, parameters, query_XPK, key_XWK, squashed)
                weights.append(torch.softmax(scores_XPW, dim=-1))
                own = slice(*layout.query_borders[index : index + 2])
                torch.bmm(weights[-1], value_XWK, out=output_QK[own].view_as(query_XPK))
            out_THK = output_QK.index_select(0, layout.leaving).view(-1, heads, size)
        else:
            entered_ZK, out_THK = all_TLK.new_empty(0), all_TLK.new_empty(self.tokens, heads, size)
        long: list[_Whole | _Tiled] = []
        for each in self.long:
            inputs_SLK, own_THK = all_TLK[self._rows(each)].detach(), out_THK[each.begin : each.end]
            tiles = self._tiles(each, parameters, heads, size)
            if tiles is not None:
                log_sums_HT = yield from tiles.forward(inputs_SLK, own_THK)
                long.append(_Tiled(tiles, inputs_SLK, own_THK, log_sums_HT))
                continue
            with torch.enable_grad():
                whole_THK = _long(parameters, inputs_SLK.requires_grad_(), heads, groups, each.length)
            own_THK.copy_(whole_THK.detach())
            long.append(_Whole(inputs_SLK, whole_THK))
            yield
        return out_THK, _Kept(parameters, heads, groups, entered_ZK, weights, squashed, long)

    def backward(self, kept: Any, grad_THK: Tensor) -> Tensor:
        """The gradient `TLK` of queries, keys and values."""
        return run_to_end(self.backward_in_parts(kept, grad_THK))

    def backward_in_parts(self, kept: Any, grad_THK: Tensor) -> Generator[None, None, Tensor]:
        """Like `backward`; yields after each tile, and after each long range."""
        own: _Kept = kept
        if self.bins:
            returned_TLK = self._bins_backward(own, grad_THK)
        else:
            returned_TLK = grad_THK.new_empty(self.tokens, own.heads + 2 * own.groups, grad_THK.shape[2])
        for each, part in zip(self.long, own.long, strict=True):
            asked_THK, own_TLK = grad_THK[each.begin : each.end], returned_TLK[each.begin : each.end]
            prefix_TLK = returned_TLK[each.prefix_begin : each.prefix_end]
            # A shared prefix precedes the ranges that share it, so its own gradient is already there.
            if isinstance(part, _Tiled):
                both_SRK = yield from part.tiles.backward(
                    part.inputs_SLK, part.output_THK, part.log_sums_HT, asked_THK, own_TLK[:, : own.heads]
                )
                own_TLK[:, own.heads :] = both_SRK[each.prefix_tokens :]
                prefix_TLK[:, own.heads :] += both_SRK[: each.prefix_tokens]
                continue
            (grad_SLK,) = torch.autograd.grad(part.output_THK, part.inputs_SLK, asked_THK)
            own_TLK.copy_(grad_SLK[each.prefix_tokens :])
            prefix_TLK += grad_SLK[: each.prefix_tokens]
            yield
        return returned_TLK

    def _tiles(self, each: TokenRange, parameters: AttentionParameters, heads: int, size: int) -> Tiles | None:
        if self.device.type != "cpu":
            return None
        keys = each.prefix_tokens + each.length
        return Tiles.of(parameters, heads, size, each.length, keys, piece=self.piece)

    @staticmethod
    def _rows(each: TokenRange) -> slice | Tensor:
        """The tokens that a range attends to."""
        if not each.prefix_tokens:
            return slice(each.begin, each.end)
        prefix_T = torch.arange(each.prefix_begin, each.prefix_end)
        return torch.cat((prefix_T, torch.arange(each.begin, each.end)))

    def _bins_backward(self, kept: _Kept, grad_THK: Tensor) -> Tensor:
        size, groups = grad_THK.shape[2], kept.groups
        layout, parameters = self._layout(kept.heads, groups), kept.parameters
        grad_QK = grad_THK.reshape(-1, size).index_select(0, layout.grads_Q)
        grad_QK.index_fill_(0, layout.padding_Y, 0)
        back_ZK = torch.empty_like(kept.entered_ZK)
        for index, weights_XPW in enumerate(kept.weights):
            query_XPK, key_XWK, value_XWK = self._parts(kept.entered_ZK, layout, index, groups)
            into_query, into_key, into_value = self._parts(back_ZK, layout, index, groups)
            grad_XPK = grad_QK[slice(*layout.query_borders[index : index + 2])].view_as(query_XPK)
            torch.bmm(weights_XPW.transpose(1, 2), grad_XPK, out=into_value)
            grad_XPW = torch.bmm(grad_XPK, value_XWK.transpose(1, 2))
            grad_XPW = torch.ops.aten._softmax_backward_data(grad_XPW, weights_XPW, -1, weights_XPW.dtype)  # noqa: SLF001
            if kept.squashed:
                grad_XPW = (grad_XPW * (1 - kept.squashed[index].square())).to(grad_XPW.dtype)
            torch.baddbmm(into_query, grad_XPW, key_XWK, beta=0, alpha=parameters.scaling, out=into_query)
            torch.baddbmm(into_key, grad_XPW.transpose(1, 2), query_XPK, beta=0, alpha=parameters.scaling, out=into_key)
        if layout.returning is not None:
            return back_ZK.index_select(0, layout.returning).view(len(grad_THK), -1, size)
        # The gradient of a shared prefix is the sum over all ranges that share it, in fp32.
        rows = self.tokens * (kept.heads + 2 * groups)
        summed = torch.zeros(rows, size, dtype=torch.float32, device=back_ZK.device)
        summed.index_add_(0, layout.sources_R, back_ZK.index_select(0, layout.real_R).float())
        return summed.to(back_ZK.dtype).view(self.tokens, -1, size)

    def _scores(
        self, bin_: Bin, parameters: AttentionParameters, query_XPK: Tensor, key_XWK: Tensor, squashed: list[Tensor]
    ) -> Tensor:
        """Scaled, soft-capped and masked scores `XPW`; the soft-capped ones are appended to `squashed`."""
        reach = bin_.prefix_tokens + bin_.width
        window = parameters.window_within(reach)
        mask_PW = self._mask(bin_, window, query_XPK.shape[1], query_XPK.dtype)
        if parameters.softcap is None:
            return torch.baddbmm(mask_PW, query_XPK, key_XWK.transpose(1, 2), alpha=parameters.scaling)
        scores_XPW = torch.bmm(query_XPK, key_XWK.transpose(1, 2)).float()
        squashed.append(scores_XPW.mul_(parameters.scaling / parameters.softcap).tanh_())
        return (squashed[-1] * parameters.softcap).add_(mask_PW).to(query_XPK.dtype)

    def _parts(self, batched_ZK: Tensor, layout: HeadLayout, index: int, groups: int) -> list[Tensor]:
        """A bin's queries `XPK`, keys `XWK` and values `XWK`, as views."""
        products, size = len(self.bins[index].ranges) * groups, batched_ZK.shape[1]
        borders = layout.borders[3 * index : 3 * index + 4]
        return [batched_ZK[begin:end].view(products, -1, size) for begin, end in pairwise(borders)]

    def _layout(self, heads: int, groups: int) -> HeadLayout:
        found = self._layouts.get((heads, groups))
        if found is None:
            found = self._layouts[heads, groups] = HeadLayout.of(self.bins, self.tokens, heads, groups, self.device)
        return found

    def _mask(self, bin_: Bin, window: int | None, rows: int, dtype: torch.dtype) -> Tensor:
        key = (bin_.width, bin_.prefix_tokens, window, rows)
        found = self._masks.get(key)
        if found is None:
            visible_WS = bin_.visible(window)
            mask_WS = torch.zeros(visible_WS.shape, dtype=dtype).masked_fill_(~visible_WS, -torch.inf)
            found = self._masks[key] = mask_WS.repeat(rows // bin_.width, 1).to(self.device)
        return found


def _long(parameters: AttentionParameters, all_SLK: Tensor, heads: int, groups: int, tokens: int) -> Tensor:
    query_HSK, key_GSK, value_GSK = torch.split(all_SLK.transpose(0, 1), [heads, groups, groups])
    return attend_segment(
        query_HSK[:, -tokens:],
        key_GSK,
        value_GSK,
        scaling=parameters.scaling,
        sliding_window=parameters.sliding_window,
        softcap=parameters.softcap,
    )
