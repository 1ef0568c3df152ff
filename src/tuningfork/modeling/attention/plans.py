"""Attention over one packed row of tokens.

A forward pass has one row that holds many segments (examples in training, requests in serving). Instead of a mask, an
object called *plan* decides which tokens attend to which.

Shape suffixes: T packed tokens (queries), S keys, H query heads, G key/value heads (H is a multiple of G),
N = H / G query heads on one key/value head, K head size.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_MASK_ELEMENTS = 4_194_304
"""The most elements of a mask (16 MiB in fp32). The queries of a segment with a larger mask are computed in blocks."""


@dataclass(frozen=True, slots=True)
class AttentionParameters:
    """The attention parameters of one layer; see `AttentionPlan.attend`."""

    scaling: float
    sliding_window: int | None
    softcap: float | None

    def window_within(self, keys: int) -> int | None:
        """The sliding window if it hides any of this many keys, else None."""
        window = self.sliding_window
        return window if window is not None and window < keys else None


class AttentionPlan(Protocol):
    """Computes attention in one forward pass, and decides which of its tokens attend to which keys."""

    def attend(
        self,
        layer: int,
        query_HTK: Tensor,
        key_GTK: Tensor,
        value_GTK: Tensor,
        *,
        scaling: float,
        sliding_window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """The attention output `THK` of one layer; a plan with a cache also stores the new keys and values.

        Args:
            layer: the layer's index in the model.
            query_HTK: rotated queries of all packed tokens.
            key_GTK: rotated keys of the same tokens.
            value_GTK: their values.
            scaling: the factor of the products of queries and keys.
            sliding_window: a token attends to the last this many tokens, itself included; None: to all before it.
            softcap: scores become `softcap * tanh(score / softcap)` (Gemma 2, section 2); None: scores stay as they
                are.

        """
        ...


@dataclass(frozen=True, slots=True)
class PackedPlan:
    """Causal attention within segments of these lengths, one after the other; differentiable, without a cache."""

    lengths: tuple[int, ...]

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
        lengths = list(self.lengths)
        segments = zip(
            torch.split(query_HTK, lengths, dim=1),
            torch.split(key_GTK, lengths, dim=1),
            torch.split(value_GTK, lengths, dim=1),
            strict=True,
        )
        outputs_THK = [
            attend_segment(*segment, scaling=scaling, sliding_window=sliding_window, softcap=softcap)
            for segment in segments
        ]
        return outputs_THK[0] if len(outputs_THK) == 1 else torch.cat(outputs_THK)


def attend_segment(
    query_HTK: Tensor,
    key_GSK: Tensor,
    value_GSK: Tensor,
    *,
    scaling: float,
    sliding_window: int | None,
    softcap: float | None,
    mask_elements: int = _MASK_ELEMENTS,
) -> Tensor:
    """Causal attention `THK` of one segment, whose queries are the last T of its S tokens.

    The S - T keys before the queries come from a cache. Long segments are computed in blocks of queries, so that a mask
    has at most about `mask_elements` elements. With a sliding window a block uses only the keys within the window.
    """
    tokens, keys = query_HTK.shape[1], key_GSK.shape[1]
    windowed = sliding_window is not None and sliding_window < keys
    if softcap is None and not windowed and tokens in (1, keys):
        return _fused(query_HTK, key_GSK, value_GSK, None, scaling=scaling, is_causal=tokens > 1)
    block = max(16, min(tokens, mask_elements // keys))
    if sliding_window is not None and windowed:
        block = min(block, max(128, sliding_window))
    borders = [*range(0, tokens, block), tokens]
    outputs_THK = []
    for begin, end in pairwise(borders):
        first_query, last_key = keys - tokens + begin, keys - tokens + end
        first_key = max(0, first_query - sliding_window + 1) if sliding_window is not None and windowed else 0
        visible_TS = visibility(
            first_query - first_key, end - begin, sliding_window if windowed else None, query_HTK.device
        )
        block_HTK, span = query_HTK[:, begin:end], slice(first_key, last_key)
        if softcap is None:
            output_THK = _fused(block_HTK, key_GSK[:, span], value_GSK[:, span], visible_TS, scaling=scaling)
        else:
            output_THK = _softcapped(
                block_HTK, key_GSK[:, span], value_GSK[:, span], visible_TS, scaling=scaling, softcap=softcap
            )
        outputs_THK.append(output_THK)
    return outputs_THK[0] if len(outputs_THK) == 1 else torch.cat(outputs_THK)


def visibility(before: int, tokens: int, sliding_window: int | None, device: torch.device) -> Tensor:
    """Which of the S = before + tokens keys each of the last `tokens` positions attends to: a boolean `TS`."""
    key_S = torch.arange(before + tokens, device=device)
    query_T1 = key_S[before:, None]
    visible_TS = key_S <= query_T1
    if sliding_window is not None:
        visible_TS &= key_S > query_T1 - sliding_window
    return visible_TS


def _fused(
    query_HTK: Tensor,
    key_GSK: Tensor,
    value_GSK: Tensor,
    visible_TS: Tensor | None,
    *,
    scaling: float,
    is_causal: bool = False,
) -> Tensor:
    output_1HTK = scaled_dot_product_attention(
        query_HTK[None],
        key_GSK[None],
        value_GSK[None],
        attn_mask=visible_TS,
        is_causal=is_causal,
        scale=scaling,
        enable_gqa=query_HTK.shape[0] != key_GSK.shape[0],
    )
    return output_1HTK[0].transpose(0, 1)


def _softcapped(
    query_HTK: Tensor, key_GSK: Tensor, value_GSK: Tensor, visible_TS: Tensor, *, scaling: float, softcap: float
) -> Tensor:
    """Attention in separate operations, since the fused kernels do not support soft-capping.

    The softmax is computed in fp32, as in transformers.
    """
    query_GNTK = query_HTK.reshape(key_GSK.shape[0], -1, *query_HTK.shape[1:])
    scores_GNTS = query_GNTK @ key_GSK[:, None].transpose(-1, -2) * scaling
    scores_GNTS = torch.tanh(scores_GNTS / softcap) * softcap
    scores_GNTS = scores_GNTS.masked_fill(~visible_TS, -torch.inf)
    weights_GNTS = torch.softmax(scores_GNTS, dim=-1, dtype=torch.float32).to(query_HTK.dtype)
    return (weights_GNTS @ value_GSK[:, None]).flatten(0, 1).transpose(0, 1)
