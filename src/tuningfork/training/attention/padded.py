"""Attention over the short segments of training packs, as one padded batch, with autograd.

The fused kernels compute one segment at a time, and in bfloat16 on a CPU their backward pass costs more than the linear
layers'. One batched product over segments padded to the same width makes a step on short examples a fifth cheaper
(docs/log.md); its score matrices stay in memory for the backward pass, which is too much for long segments.

Shape suffixes: T packed tokens, H query heads, G key/value heads, N = H / G, K head size, B segments, W their padded
width.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tuningfork.modeling.attention.plans import AttentionPlan, PackedPlan, visibility

_WIDEST = 256
_MOST_PADDING = 2.0
"""The largest ratio of padded tokens to tokens: beyond it, padding costs more than batching saves."""

_NARROW = 64
"""The padded width up to which attention is cheap, even if most of it is padding."""


def plan_of(lengths: tuple[int, ...], device: torch.device) -> AttentionPlan:
    """The fastest plan for causal attention within segments of these lengths, one after the other."""
    width = max(lengths)
    padding = width * len(lengths) / sum(lengths)
    if width <= _NARROW or (width <= _WIDEST and padding <= _MOST_PADDING):
        return PaddedPlan.of(lengths, device)
    return PackedPlan(lengths)


@dataclass(frozen=True, slots=True)
class PaddedPlan:
    """Computes all segments as one batch. Padding comes after a segment's end, so no causal query attends to it."""

    width: int
    sources_BW: Tensor
    places_T: Tensor

    @classmethod
    def of(cls, lengths: tuple[int, ...], device: torch.device) -> Self:
        """The plan for segments of these lengths."""
        width = max(lengths)
        lengths_B1 = torch.tensor(lengths)[:, None]
        column_W = torch.arange(width)
        # Padding repeats the segment's last token; any finite numbers would do.
        sources_BW = lengths_B1.cumsum(0) - lengths_B1 + torch.minimum(column_W, lengths_B1 - 1)
        places_T = (column_W < lengths_B1).flatten().nonzero().squeeze(1)
        return cls(width, sources_BW.to(device), places_T.to(device))

    def attend(
        self,
        layer: int,  # noqa: ARG002  every layer attends alike
        query_HTK: Tensor,
        key_GTK: Tensor,
        value_GTK: Tensor,
        *,
        scaling: float,
        sliding_window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """The attention output `THK`; see `AttentionPlan.attend`."""
        query_HBWK = self._padded(query_HTK * scaling)
        query_GNBWK = query_HBWK.view(key_GTK.shape[0], -1, *query_HBWK.shape[1:])
        key_G1BWK, value_G1BWK = self._padded(key_GTK)[:, None], self._padded(value_GTK)[:, None]
        scores_GNBWW = query_GNBWK @ key_G1BWK.transpose(-1, -2)
        if softcap is not None:
            scores_GNBWW = torch.tanh(scores_GNBWW / softcap) * softcap
        window = sliding_window if sliding_window is not None and sliding_window < self.width else None
        visible_WW = visibility(0, self.width, window, query_HTK.device)
        weights_GNBWW = torch.softmax(scores_GNBWW.masked_fill(~visible_WW, -torch.inf), dim=-1)
        output_HPK = (weights_GNBWW @ value_G1BWK).flatten(0, 1).flatten(1, 2)
        return output_HPK.index_select(1, self.places_T).transpose(0, 1)

    def _padded(self, tokens_HTK: Tensor) -> Tensor:
        heads, _, size = tokens_HTK.shape
        return tokens_HTK.index_select(1, self.sources_BW.flatten()).view(heads, *self.sources_BW.shape, size)
