"""Our attention as an attention implementation of transformers; importing this module registers it.

A plan is passed to the model as the keyword `attention_plan`, and transformers passes it on to the function that is
registered here. This works for every architecture whose attention goes through `ALL_ATTENTION_FUNCTIONS`.

Shape suffixes: T packed tokens, H query heads, G key/value heads, K head size.
"""

from typing import Any, cast

from torch import Tensor, nn
from transformers import AttentionInterface

from tuningfork.modeling.attention.plans import AttentionPlan

ATTENTION = "tuningfork"
"""The `attn_implementation` to load models with."""


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
        ValueError: there is more than one row of tokens.

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


# Only the attention function is registered, and no mask function, so transformers builds no mask.
AttentionInterface.register(ATTENTION, _attention)
