"""Attention over the segments of a training pass made of tensors alone: nothing depends on how long segments are.

Whoever changes the numbers in the tensors may run the same operations again, so that a CUDA graph can hold a pass. On a
GPU in half precision torch's fused kernels (Dao 2023) go through all segments at once; elsewhere, and where scores are
soft-capped, they are one masked matrix a head, which suits short passes.

Shape suffixes: T packed tokens, H query heads, G key/value heads, N = H / G query heads on one of them, L = H + 2 G,
K head size, S segments.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from tuningfork.modeling import shortcuts
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import How, TracedAttention

logger = logging.getLogger(__name__)

_FUSED_DTYPES = (torch.bfloat16, torch.float16)
_FUSED_HEAD_SIZES = range(8, 257, 8)
_TRIED_LENGTHS = (70, 1, 33, 16)
_TRIED_WINDOW = 20
_ROUNDING = 0.02
"""How far kernels may be from fp32, as a share of the length: 8 bits of bfloat16, twice."""


def is_fused(decoder: Decoder) -> bool:
    """Whether torch has kernels for this model's attention on its device, and they compute what they should."""
    weight_OD = decoder.head.weight_OD
    if not (weight_OD.is_cuda and shortcuts.are_taken()) or weight_OD.dtype not in _FUSED_DTYPES:
        return False
    if any(layer.how.softcap is not None or layer.head_size not in _FUSED_HEAD_SIZES for layer in decoder.layers):
        return False
    kinds = {(layer.heads, layer.key_heads, layer.head_size, layer.how.sliding_window) for layer in decoder.layers}
    return all(_is_right(weight_OD.device, weight_OD.dtype, *kind) for kind in kinds)


@cache
def _is_right(device: torch.device, dtype: torch.dtype, heads: int, groups: int, size: int, window: int | None) -> bool:
    """Whether the kernels agree, within rounding, with the same computed in fp32 on the CPU."""
    try:
        off = _difference(device, dtype, (heads, groups, size), None if window is None else min(window, _TRIED_WINDOW))
    except (RuntimeError, TypeError) as error:
        reason = str(error)
    else:
        if off <= _ROUNDING:
            return True
        reason = f"their numbers are off by {off:.2g} of their length"
    logger.warning("attention in training goes on without torch's fused kernels, more slowly: %s", reason)
    return False


def _difference(device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int], window: int | None) -> float:
    heads, groups, size = shape
    draw = torch.Generator().manual_seed(0)
    all_TLK = torch.randn(sum(_TRIED_LENGTHS), heads + 2 * groups, size, generator=draw).to(dtype)
    slope_THK = torch.randn(sum(_TRIED_LENGTHS), heads, size, generator=draw).to(dtype)
    how = How(size**-0.5, window, None)
    found = []
    for kind, place, precision in ((FusedAttention, device, dtype), (MaskedAttention, torch.device("cpu"), None)):
        attention = kind(Borders.of(_TRIED_LENGTHS, place))
        inputs = [each.to(place, precision or torch.float32) for each in (all_TLK, slope_THK)]
        out_THK, kept = attention.forward(0, how, inputs[0], heads)
        found.append([each.float().cpu() for each in (out_THK, attention.backward(kept, inputs[1]))])
    pairs = zip(*found, strict=True)
    offs = [float((ours - right).norm() / right.norm()) for ours, right in pairs]
    return math.inf if any(math.isnan(off) for off in offs) else max(offs)


@dataclass(frozen=True, slots=True)
class Borders:
    """Where segments begin and end in a pass: `begins_S1` in int32, with the end of the last; empty ones may follow.

    `segment_T` is the number of each token's segment. `longest` is what no segment's length exceeds.
    """

    begins_S1: Tensor
    segment_T: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Borders":
        """Of segments of these lengths, end to end."""
        begins_S1, segment_T = numbers_of(lengths, len(lengths))
        return cls(begins_S1.int().to(device), segment_T.to(device), max(lengths))


def numbers_of(lengths: Sequence[int], segments: int) -> tuple[Tensor, Tensor]:
    """`begins_S1` and `segment_T` of so many segments, the last ones empty if there are fewer lengths; on the CPU."""
    begins = [0, *accumulate(lengths)]
    begins += [begins[-1]] * (segments - len(lengths))
    return torch.tensor(begins), torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


@dataclass(frozen=True, slots=True)
class _KeptFused:
    how: How
    heads: int
    all_TLK: Tensor
    out_THK: Tensor
    logsumexp: Tensor
    states: tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class FusedAttention:
    """A `TracedAttention` by torch's kernels for segments of any lengths (those of `varlen_attn`)."""

    borders: Borders

    def forward(self, layer: int, how: How, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:  # noqa: ARG002
        """See `TracedAttention.forward`."""
        query, key, value = _split(all_TLK, heads)
        begins, longest = self.borders.begins_S1, self.borders.longest
        out_THK, logsumexp, *states, _ = torch.ops.aten._flash_attention_forward(  # noqa: SLF001
            query, key, value, begins, begins, longest, longest, 0.0, True, False, **_options(how)
        )
        return out_THK, _KeptFused(how, heads, all_TLK, out_THK, logsumexp, (states[0], states[1]))

    def backward(self, kept: Any, slope_THK: Tensor) -> Tensor:
        """See `TracedAttention.backward`."""
        own: _KeptFused = kept
        query, key, value = _split(own.all_TLK, own.heads)
        begins, longest = self.borders.begins_S1, self.borders.longest
        slopes = torch.ops.aten._flash_attention_backward(  # noqa: SLF001
            slope_THK.contiguous(),
            query,
            key,
            value,
            own.out_THK,
            own.logsumexp,
            begins,
            begins,
            longest,
            longest,
            0.0,
            True,
            *own.states,
            **_options(own.how),
        )
        return torch.cat(slopes, dim=1)


def _options(how: How) -> dict[str, Any]:
    window = {} if how.sliding_window is None else {"window_size_left": how.sliding_window - 1, "window_size_right": 0}
    return {"scale": how.scaling, **window}


def _split(all_TLK: Tensor, heads: int) -> list[Tensor]:
    groups = (all_TLK.shape[1] - heads) // 2
    return list(torch.split(all_TLK, [heads, groups, groups], dim=1))


@dataclass(frozen=True, slots=True)
class _KeptMasked:
    how: How
    parts: list[Tensor]
    weights: Tensor
    squashed: Tensor | None


@dataclass(frozen=True, slots=True)
class MaskedAttention:
    """A `TracedAttention` by batched products over all pairs of tokens, of which those of other segments are hidden."""

    borders: Borders
    _biases: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def forward(self, layer: int, how: How, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:  # noqa: ARG002
        """See `TracedAttention.forward`."""
        query_THK, key_TGK, value_TGK = _split(all_TLK, heads)
        tokens, groups, size = key_TGK.shape
        # Query heads of one key/value head lie one below the other.
        query = query_THK.view(tokens, groups, -1, size).permute(1, 2, 0, 3).reshape(groups, -1, size)
        key, value = (each.transpose(0, 1).contiguous() for each in (key_TGK, value_TGK))
        bias = self._bias(how.sliding_window, query.dtype).repeat(heads // groups, 1)
        squashed = None
        if how.softcap is None:
            scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=how.scaling)
        else:
            squashed = torch.tanh(torch.bmm(query, key.transpose(1, 2)).float() * (how.scaling / how.softcap))
            scores = (squashed * how.softcap).add_(bias).to(query.dtype)
        weights = torch.softmax(scores, dim=-1)
        out = torch.bmm(weights, value).view(groups, -1, tokens, size).permute(2, 0, 1, 3)
        return out.reshape(tokens, heads, size), _KeptMasked(how, [query, key, value], weights, squashed)

    def backward(self, kept: Any, slope_THK: Tensor) -> Tensor:
        """See `TracedAttention.backward`."""
        own: _KeptMasked = kept
        query, key, value = own.parts
        groups, tokens, size = key.shape
        slope = slope_THK.reshape(tokens, groups, -1, size).permute(1, 2, 0, 3).reshape(groups, -1, size)
        value_slope = torch.bmm(own.weights.transpose(1, 2), slope)
        scores = torch.bmm(slope, value.transpose(1, 2))
        scores = torch.ops.aten._softmax_backward_data(scores, own.weights, -1, own.weights.dtype)  # noqa: SLF001
        if own.squashed is not None:
            scores = (scores * (1 - own.squashed.square())).to(scores.dtype)
        query_slope = (torch.bmm(scores, key) * own.how.scaling).view(groups, -1, tokens, size).permute(2, 0, 1, 3)
        key_slope = torch.bmm(scores.transpose(1, 2), query) * own.how.scaling
        parts = (query_slope.reshape(tokens, -1, size), key_slope.transpose(0, 1), value_slope.transpose(0, 1))
        return torch.cat(parts, dim=1)

    def _bias(self, window: int | None, dtype: torch.dtype) -> Tensor:
        found = self._biases.get((window, dtype))
        if found is None:
            segment_T = self.borders.segment_T
            place_T = torch.arange(len(segment_T), device=segment_T.device)
            distance_TT = place_T[:, None] - place_T
            hidden_TT = (segment_T[:, None] != segment_T) | (distance_TT < 0)
            if window is not None:
                hidden_TT |= distance_TT >= window
            bias_TT = torch.zeros(hidden_TT.shape, dtype=dtype, device=segment_T.device)
            found = self._biases[window, dtype] = bias_TT.masked_fill_(hidden_TT, -torch.inf)
        return found


def attention_over(decoder: Decoder, borders: Borders) -> TracedAttention:
    """The better of the two."""
    return FusedAttention(borders) if is_fused(decoder) else MaskedAttention(borders)
