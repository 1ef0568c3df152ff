"""Attention over the segments of a training pass, described by tensors, as a CUDA graph needs it.

The operations that run do not depend on the segments' lengths, so a graph can replay them after the numbers in the
tensors have changed. On a GPU in half precision torch's fused kernels (Dao 2023) compute all segments at once.
Elsewhere, and with soft-capping, the scores of each head are one masked matrix, which suits short passes.

Shape suffixes: T packed tokens, H query heads, G key/value heads, N = H / G query heads on one of them, L = H + 2 G,
K head size, S segments.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import TracedAttention

logger = logging.getLogger(__name__)

_FUSED_DTYPES = (torch.bfloat16, torch.float16)
_FUSED_HEAD_SIZES = range(8, 257, 8)
_TRIED_LENGTHS = (70, 1, 33, 16)
_TRIED_WINDOW = 20
_ROUNDING = 0.02
"""The largest difference allowed between kernels and fp32, relative to the result's norm: twice bfloat16's rounding."""


@dataclass(frozen=True, slots=True)
class Borders:
    """Where segments begin and end in a pass.

    `begins_S1`, in int32, has the index of each segment's first token, and at the end the number of tokens. The last
    segments may be empty. `segment_T` has the index of each token's segment. No segment is longer than `longest`.
    """

    begins_S1: Tensor
    segment_T: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Borders":
        """The borders of segments of these lengths, one after the other."""
        begins_S1, segment_T = numbers_of(lengths, len(lengths))
        return cls(begins_S1.int().to(device), segment_T.to(device), max(lengths))


def numbers_of(lengths: Sequence[int], segments: int) -> tuple[Tensor, Tensor]:
    """`begins_S1` and `segment_T` of `Borders` for `segments` segments, on the CPU.

    If there are fewer lengths than segments, the last segments are empty.
    """
    begins = [0, *accumulate(lengths)]
    begins += [begins[-1]] * (segments - len(lengths))
    return torch.tensor(begins), torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


BorderedAttention = Callable[[Borders], TracedAttention]
"""Makes the attention of one pass from the borders of its segments: `FusedAttention` or `MaskedAttention`."""


def is_fused(decoder: Decoder) -> bool:
    """Whether torch has fused kernels for this model's attention whose results on its device are tested as correct."""
    device, dtype = decoder.head.parts[0].device, decoder.head.dtype
    if device.type != "cuda" or dtype not in _FUSED_DTYPES:
        return False
    layers = [(layer, layer.attention_parameters) for layer in decoder.layers]
    if any(own.softcap is not None or layer.head_size not in _FUSED_HEAD_SIZES for layer, own in layers):
        return False
    kinds = {((layer.heads, layer.key_heads, layer.head_size), own.sliding_window) for layer, own in layers}
    return all(is_correct(FusedAttention, device, dtype, *kind) for kind in kinds)


def is_correct(
    tried: BorderedAttention, device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int], window: int | None
) -> bool:
    """Whether an attention agrees with `MaskedAttention` in fp32 on the CPU within rounding; logs a warning if not.

    `shape`: the numbers of query heads and key/value heads, and the size of a head.
    """
    try:
        off = _difference(tried, device, dtype, shape, None if window is None else min(window, _TRIED_WINDOW))
    except (RuntimeError, TypeError) as error:
        reason = str(error)
    else:
        if off <= _ROUNDING:
            return True
        reason = f"their numbers are off by {off:.2g} of their length"
    logger.warning("attention in training goes on without torch's fused kernels, more slowly: %s", reason)
    return False


def _difference(
    tried: BorderedAttention, device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int], window: int | None
) -> float:
    heads, groups, size = shape
    draw = torch.Generator().manual_seed(0)
    all_TLK = torch.randn(sum(_TRIED_LENGTHS), heads + 2 * groups, size, generator=draw).to(dtype)
    grad_THK = torch.randn(sum(_TRIED_LENGTHS), heads, size, generator=draw).to(dtype)
    parameters = AttentionParameters(size**-0.5, window, None)
    found = []
    for kind, place, precision in ((tried, device, dtype), (MaskedAttention, torch.device("cpu"), None)):
        attention = kind(Borders.of(_TRIED_LENGTHS, place))
        inputs = [each.to(place, precision or torch.float32) for each in (all_TLK, grad_THK)]
        out_THK, kept = attention.forward(0, parameters, inputs[0], heads)
        found.append([each.float().cpu() for each in (out_THK, attention.backward(kept, inputs[1]))])
    pairs = zip(*found, strict=True)
    offs = [float((ours - right).norm() / right.norm()) for ours, right in pairs]
    return math.inf if any(math.isnan(off) for off in offs) else max(offs)


@dataclass(frozen=True, slots=True)
class _KeptFused:
    parameters: AttentionParameters
    heads: int
    all_TLK: Tensor
    out_THK: Tensor
    logsumexp: Tensor
    states: tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class FusedAttention(TracedAttention):
    """A `TracedAttention` by the fused kernels of torch's `varlen_attn`, for segments of any lengths."""

    borders: Borders

    def forward(self, layer: int, parameters: AttentionParameters, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:  # noqa: ARG002
        """See `TracedAttention.forward`."""
        query, key, value = _split(all_TLK, heads)
        begins, longest = self.borders.begins_S1, self.borders.longest
        out_THK, logsumexp, *states, _ = torch.ops.aten._flash_attention_forward(  # noqa: SLF001
            query, key, value, begins, begins, longest, longest, 0.0, True, False, **_options(parameters)
        )
        return out_THK, _KeptFused(parameters, heads, all_TLK, out_THK, logsumexp, (states[0], states[1]))

    def backward(self, kept: Any, grad_THK: Tensor) -> Tensor:
        """See `TracedAttention.backward`."""
        own: _KeptFused = kept
        query, key, value = _split(own.all_TLK, own.heads)
        begins, longest = self.borders.begins_S1, self.borders.longest
        grads = torch.ops.aten._flash_attention_backward(  # noqa: SLF001
            grad_THK.contiguous(),
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
            **_options(own.parameters),
        )
        return torch.cat(grads, dim=1)


def _options(parameters: AttentionParameters) -> dict[str, Any]:
    window = parameters.sliding_window
    sizes = {} if window is None else {"window_size_left": window - 1, "window_size_right": 0}
    return {"scale": parameters.scaling, **sizes}


def _split(all_TLK: Tensor, heads: int) -> list[Tensor]:
    groups = (all_TLK.shape[1] - heads) // 2
    return list(torch.split(all_TLK, [heads, groups, groups], dim=1))


@dataclass(frozen=True, slots=True)
class _KeptMasked:
    parameters: AttentionParameters
    parts: list[Tensor]
    weights: Tensor
    squashed: Tensor | None


@dataclass(frozen=True, slots=True)
class MaskedAttention(TracedAttention):
    """A `TracedAttention` by batched matrix products of all pairs of tokens; pairs of different segments are masked."""

    borders: Borders
    _biases: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def forward(self, layer: int, parameters: AttentionParameters, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:  # noqa: ARG002
        """See `TracedAttention.forward`."""
        query_THK, key_TGK, value_TGK = _split(all_TLK, heads)
        tokens, groups, size = key_TGK.shape
        # The query heads that share a key/value head form one batch.
        query = query_THK.view(tokens, groups, -1, size).permute(1, 2, 0, 3).reshape(groups, -1, size)
        key, value = (each.transpose(0, 1).contiguous() for each in (key_TGK, value_TGK))
        bias = self._bias(parameters.sliding_window, query.dtype).repeat(heads // groups, 1)
        squashed = None
        if parameters.softcap is None:
            scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=parameters.scaling)
        else:
            squashed = torch.tanh(
                torch.bmm(query, key.transpose(1, 2)).float() * (parameters.scaling / parameters.softcap)
            )
            scores = (squashed * parameters.softcap).add_(bias).to(query.dtype)
        weights = torch.softmax(scores, dim=-1)
        out = torch.bmm(weights, value).view(groups, -1, tokens, size).permute(2, 0, 1, 3)
        return out.reshape(tokens, heads, size), _KeptMasked(parameters, [query, key, value], weights, squashed)

    def backward(self, kept: Any, grad_THK: Tensor) -> Tensor:
        """See `TracedAttention.backward`."""
        own: _KeptMasked = kept
        query, key, value = own.parts
        groups, tokens, size = key.shape
        grad = grad_THK.reshape(tokens, groups, -1, size).permute(1, 2, 0, 3).reshape(groups, -1, size)
        value_grad = torch.bmm(own.weights.transpose(1, 2), grad)
        scores = torch.bmm(grad, value.transpose(1, 2))
        scores = torch.ops.aten._softmax_backward_data(scores, own.weights, -1, own.weights.dtype)  # noqa: SLF001
        if own.squashed is not None:
            scores = (scores * (1 - own.squashed.square())).to(scores.dtype)
        query_grad = (
            (torch.bmm(scores, key) * own.parameters.scaling).view(groups, -1, tokens, size).permute(2, 0, 1, 3)
        )
        key_grad = torch.bmm(scores.transpose(1, 2), query) * own.parameters.scaling
        parts = (query_grad.reshape(tokens, -1, size), key_grad.transpose(0, 1), value_grad.transpose(0, 1))
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
