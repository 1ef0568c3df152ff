"""Attention over one packed row of tokens, plugged into transformers' models under one name.

A forward pass sees one row that holds many segments (examples in training, requests in serving). Which tokens see which
is not a mask but a *plan*, handed to the forward as the keyword `attention_plan`; transformers passes it through to the
function registered here. Every architecture whose attention goes through `ALL_ATTENTION_FUNCTIONS` works so.

Shape suffixes: T packed tokens (queries), S keys, H query heads, G key/value heads (H is a multiple of G),
N = H / G query heads on one key/value head, K head size.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "tuningfork"
"""The `attn_implementation` to load models with."""

_MASK_ELEMENTS = 4_194_304
"""Queries are taken in blocks so that no mask outgrows this (16 MiB in fp32), whatever the length of the segment."""


class AttentionPlan(Protocol):
    """Says for one forward pass which of its tokens see which keys."""

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
            scaling: what the products of queries and keys are multiplied with.
            sliding_window: a token sees this many tokens, itself included; None: all before it.
            softcap: scores are squashed to `softcap * tanh(score / softcap)` (Gemma 2, section 2); None: not at all.

        """
        ...


@dataclass(frozen=True, slots=True)
class PackedPlan:
    """Independent causal segments of these lengths, one after the other; differentiable, keeps nothing."""

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
) -> Tensor:
    """Causal attention `THK` of one segment, whose queries are the last T of its S tokens.

    The S - T keys before the queries come from a cache. Memory stays bounded on long segments: queries go in blocks,
    and under a sliding window a block meets only the keys it can see.
    """
    tokens, keys = query_HTK.shape[1], key_GSK.shape[1]
    windowed = sliding_window is not None and sliding_window < keys
    if softcap is None and not windowed and tokens in (1, keys):
        return _fused(query_HTK, key_GSK, value_GSK, None, scaling=scaling, is_causal=tokens > 1)
    block = max(16, min(tokens, _MASK_ELEMENTS // keys))
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
    """Which of S = before + tokens keys each of the last `tokens` positions sees: a boolean `TS`."""
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
    """Attention in single products: the fused kernels know no soft-capping. Softmax in fp32, as transformers does."""
    query_GNTK = query_HTK.reshape(key_GSK.shape[0], -1, *query_HTK.shape[1:])
    scores_GNTS = query_GNTK @ key_GSK[:, None].transpose(-1, -2) * scaling
    scores_GNTS = torch.tanh(scores_GNTS / softcap) * softcap
    scores_GNTS = scores_GNTS.masked_fill(~visible_TS, -torch.inf)
    weights_GNTS = torch.softmax(scores_GNTS, dim=-1, dtype=torch.float32).to(query_HTK.dtype)
    return (weights_GNTS @ value_GSK[:, None]).flatten(0, 1).transpose(0, 1)


def _attention(
    module: nn.Module,
    query_1HTK: Tensor,
    key_1GTK: Tensor,
    value_1GTK: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001  transformers' signature; plans need no mask
    *,
    attention_plan: AttentionPlan,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The function that transformers' attention modules call. Dropout is not applied: the base is frozen.

    Raises:
        NotImplementedError: the architecture needs attention sinks, a position bias or attention in both directions.
        ValueError: more than one row of tokens.

    """
    if s_aux is not None or position_bias is not None or not getattr(module, "is_causal", True):
        raise NotImplementedError(
            f"{type(module).__name__} needs attention sinks, a position bias or attention in both directions, none of "
            "which is supported; choose a plain causal model (Llama, Qwen, Gemma, Mistral, Phi-3 and their kin)"
        )
    if query_1HTK.shape[0] != 1:
        raise ValueError(f"a forward pass takes one packed row of tokens; {query_1HTK.shape[0]} rows were given")
    output_THK = attention_plan.attend(
        cast("int", module.layer_idx),
        query_1HTK[0],
        key_1GTK[0],
        value_1GTK[0],
        scaling=query_1HTK.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window=sliding_window,
        softcap=softcap,
    )
    return output_THK[None], None


# No mask function is registered beside it: transformers then builds no mask at all.
AttentionInterface.register(ATTENTION, _attention)
