"""Gemma 1, 2 and 3: what their GGUF files say, as transformers says it.

Source: as in `llamas`. A file does not say the scale of Gemma's scores; runners know it by the number of layers.
"""

from typing import Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.llamas import add_attention, add_ends, add_gated_mlp, add_head_norms
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Change, Plan
from tuningfork.modeling.files.gguf.rotations import rope_of
from tuningfork.modeling.files.gguf.sizes import Sizes, check_whole_rotation, sizes_of

Config = dict[str, Any]

_LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}
"""The models with as many layers scale their scores by width / heads, all others by the length of a head."""


def gemma(metadata: Metadata, plan: Plan) -> Config:
    """Gemma 1."""
    sizes = sizes_of(metadata, plan)
    config = _common(metadata, plan, sizes) | {
        "architectures": ["GemmaForCausalLM"],
        "model_type": "gemma",
        "hidden_act": "gelu_pytorch_tanh",
        "rope_parameters": rope_of(metadata, plan, dimensions=sizes.rotated, context=sizes.context),
    }
    _check_scale(metadata, sizes, sizes.head)
    add_ends(plan, sizes, Change.SHIFTED)
    for layer in range(sizes.layers):
        add_attention(plan, sizes, layer, norm=Change.SHIFTED)
        add_gated_mlp(plan, sizes, layer, norm=Change.SHIFTED)
    return config


def gemma2(metadata: Metadata, plan: Plan) -> Config:
    """Gemma 2: caps on scores and logits, a window in every other layer, norms on both sides of each block."""
    sizes = sizes_of(metadata, plan)
    key = metadata.of_model
    config = _common(metadata, plan, sizes) | {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_parameters": rope_of(metadata, plan, dimensions=sizes.rotated, context=sizes.context),
        "query_pre_attn_scalar": _scalar(metadata, sizes),
        "attn_logit_softcapping": metadata.real(key("attn_logit_softcapping"), 50.0),
        "final_logit_softcapping": metadata.real(key("final_logit_softcapping"), 30.0),
        "sliding_window": metadata.count(key("attention.sliding_window"), 4_096),
        "layer_types": _layer_types(metadata, sizes, 2),
    }
    theta = config["rope_parameters"]["rope_theta"]
    if metadata.real(key("rope.freq_base_swa"), theta) != theta:
        raise BaseUnusable("it rotates layers with a window in another way, which Gemma 2 does not in transformers")
    add_ends(plan, sizes, Change.SHIFTED)
    for layer in range(sizes.layers):
        _add_layer(plan, sizes, layer)
    return config


def gemma3(metadata: Metadata, plan: Plan) -> Config:
    """Gemma 3, its language model: norms of q and k, and a rotation of its own for layers with a window."""
    sizes = sizes_of(metadata, plan)
    key = metadata.of_model
    window = metadata.count(key("attention.sliding_window"), 0)
    # Read in any case: without a window it means nothing.
    types, theta = _layer_types(metadata, sizes, 6), metadata.real(key("rope.freq_base_swa"), 10_000.0)
    cap = key("final_logit_softcapping")
    config = _common(metadata, plan, sizes) | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _scalar(metadata, sizes),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": metadata.real(cap) if metadata.get(cap) else None,
        "sliding_window": window or sizes.context,
        "layer_types": types if window else ["full_attention"] * sizes.layers,
        "rope_parameters": {
            "full_attention": rope_of(metadata, plan, dimensions=sizes.rotated, context=sizes.context),
            "sliding_attention": {"rope_type": "default", "rope_theta": theta},
        },
    }
    add_ends(plan, sizes, Change.SHIFTED)
    for layer in range(sizes.layers):
        _add_layer(plan, sizes, layer)
        add_head_norms(plan, sizes, layer, Change.SHIFTED)
    return config


def _common(metadata: Metadata, plan: Plan, sizes: Sizes) -> Config:
    check_whole_rotation(metadata, sizes)
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "head_dim": sizes.head,
        "attention_bias": False,
        "max_position_embeddings": sizes.context,
        "rms_norm_eps": metadata.real(metadata.of_model("attention.layer_norm_rms_epsilon")),
        "tie_word_embeddings": not plan.has("output.weight"),
    }


def _add_layer(plan: Plan, sizes: Sizes, layer: int) -> None:
    add_attention(plan, sizes, layer, norm=Change.SHIFTED)
    add_gated_mlp(plan, sizes, layer, norm=Change.SHIFTED, norm_name="pre_feedforward_layernorm")
    norms = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
    for source, target in norms.items():
        name = f"model.layers.{layer}.{target}.weight"
        plan.add(name, f"blk.{layer}.{source}.weight", (sizes.width,), Change.SHIFTED)


def _scalar(metadata: Metadata, sizes: Sizes) -> int:
    known = sizes.layers == _LAYERS_OF_27B[metadata.architecture]
    scalar = sizes.width // sizes.heads if known else sizes.head
    _check_scale(metadata, sizes, scalar)
    return scalar


def _check_scale(metadata: Metadata, sizes: Sizes, scalar: int) -> None:
    key = metadata.of_model("attention.scale")
    given = metadata.real(key, scalar**-0.5)
    if abs(given * scalar**0.5 - 1) > 1e-4:
        raise BaseUnusable(f"its {key!r} is {given}, and runners scale by {scalar**-0.5:.6g} for {sizes.layers} layers")


def _layer_types(metadata: Metadata, sizes: Sizes, usual: int) -> list[str]:
    """The kind of each layer: the file's own list, or one without a window after every few with one."""
    key = metadata.of_model("attention.sliding_window_pattern")
    given = metadata.get(key)
    if isinstance(given, list):
        windows = [bool(each) for each in given]
        if len(windows) != sizes.layers:
            raise BaseUnusable(f"its {key!r} has {len(windows)} values for {sizes.layers} layers")
    else:
        every = metadata.count(key, usual)
        windows = [not every or (layer + 1) % every != 0 for layer in range(sizes.layers)]
    return ["sliding_attention" if window else "full_attention" for window in windows]
