"""Llama, Mistral, SmolLM, Qwen 2 and 3, and SmolLM 3: what their GGUF files say, as transformers says it.

Source: `conversion/` and `src/models/` of llama.cpp; transformers' configurations and `modeling_*.py` of each family.
"""

from typing import Any

from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Change, Plan
from tuningfork.modeling.files.gguf.rotations import rope_of
from tuningfork.modeling.files.gguf.sizes import Sizes, check_scale, check_whole_rotation, sizes_of

Config = dict[str, Any]

_ATTENTION_BIASES = ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias")
_MLP_BIASES = ("ffn_gate.bias", "ffn_up.bias", "ffn_down.bias")


def llama(metadata: Metadata, plan: Plan) -> Config:
    """Llama, SmolLM and Mistral, whose files have the architecture `llama` too; with a window it is Mistral's class."""
    sizes = sizes_of(metadata, plan)
    config = common_config(metadata, plan, sizes)
    attention_bias, mlp_bias = plan.has_any(_ATTENTION_BIASES), plan.has_any(_MLP_BIASES)
    window = metadata.count(metadata.of_model("attention.sliding_window"), 0)
    if window and not attention_bias and not mlp_bias:
        config |= {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": window}
    else:
        config |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        config |= {"attention_bias": attention_bias, "mlp_bias": mlp_bias}
    add_ends(plan, sizes)
    for layer in range(sizes.layers):
        add_attention(plan, sizes, layer, rotated=Change.HALVES, biases=_ATTENTION_BIASES if attention_bias else ())
        add_gated_mlp(plan, sizes, layer, biases=mlp_bias)
    return config


def smollm3(metadata: Metadata, plan: Plan) -> Config:
    """SmolLM 3: a Llama without rotation in every fourth layer, which its files do not say and runners know."""
    config = llama(metadata, plan)
    del config["head_dim"]
    return config | {
        "architectures": ["SmolLM3ForCausalLM"],
        "model_type": "smollm3",
        "no_rope_layer_interval": 4,
        "use_sliding_window": False,
    }


def qwen2(metadata: Metadata, plan: Plan) -> Config:
    """Qwen 2 and 2.5: biases of q, k and v."""
    sizes = sizes_of(metadata, plan)
    config = common_config(metadata, plan, sizes)
    del config["head_dim"]
    config |= {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": False}
    add_ends(plan, sizes)
    for layer in range(sizes.layers):
        add_attention(plan, sizes, layer, biases=_ATTENTION_BIASES[:3])
        add_gated_mlp(plan, sizes, layer)
    return config


def qwen3(metadata: Metadata, plan: Plan) -> Config:
    """Qwen 3: norms of q and k."""
    sizes = sizes_of(metadata, plan)
    config = common_config(metadata, plan, sizes)
    biases = _ATTENTION_BIASES if plan.has_any(_ATTENTION_BIASES) else ()
    config |= {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "use_sliding_window": False}
    config |= {"attention_bias": bool(biases)}
    add_ends(plan, sizes)
    for layer in range(sizes.layers):
        add_attention(plan, sizes, layer, biases=biases)
        add_head_norms(plan, sizes, layer)
        add_gated_mlp(plan, sizes, layer)
    return config


def common_config(metadata: Metadata, plan: Plan, sizes: Sizes, *, activation: str = "silu") -> Config:
    """What the configurations of all these families have."""
    check_whole_rotation(metadata, sizes)
    check_scale(metadata, sizes)
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "head_dim": sizes.head,
        "hidden_act": activation,
        "max_position_embeddings": sizes.context,
        "rms_norm_eps": metadata.real(metadata.of_model("attention.layer_norm_rms_epsilon")),
        "rope_parameters": rope_of(metadata, plan, dimensions=sizes.rotated, context=sizes.context),
        "tie_word_embeddings": not plan.has("output.weight"),
    }


def add_ends(plan: Plan, sizes: Sizes, norm: Change = Change.NONE) -> None:
    """The embedding, the last norm, and the head if it is not the embedding."""
    plan.add("model.embed_tokens.weight", "token_embd.weight", (sizes.vocabulary, sizes.width))
    plan.add("model.norm.weight", "output_norm.weight", (sizes.width,), norm)
    if plan.has("output.weight"):
        plan.add("lm_head.weight", "output.weight", (sizes.vocabulary, sizes.width))


def add_attention(
    plan: Plan,
    sizes: Sizes,
    layer: int,
    *,
    rotated: Change = Change.NONE,
    norm: Change = Change.NONE,
    biases: tuple[str, ...] = (),
) -> None:
    """The attention of a layer and the norm before it; of the biases those that the file lacks become zeros."""
    here, there = f"blk.{layer}.", f"model.layers.{layer}."
    plan.add(there + "input_layernorm.weight", here + "attn_norm.weight", (sizes.width,), norm)
    rows = {
        "attn_q": ("q_proj", sizes.queries, rotated, sizes.heads),
        "attn_k": ("k_proj", sizes.keys, rotated, sizes.key_heads),
        "attn_v": ("v_proj", sizes.keys, Change.NONE, 1),
        "attn_output": ("o_proj", sizes.width, Change.NONE, 1),
    }
    for source, (target, count, change, heads) in rows.items():
        columns = sizes.queries if source == "attn_output" else sizes.width
        name = f"{there}self_attn.{target}"
        plan.add(f"{name}.weight", f"{here}{source}.weight", (count, columns), change, heads=heads)
        if f"{source}.bias" in biases:
            plan.add_or_zeros(f"{name}.bias", f"{here}{source}.bias", (count,), change, heads=heads)


def add_head_norms(plan: Plan, sizes: Sizes, layer: int, norm: Change = Change.NONE) -> None:
    """The norms of q and k in a layer."""
    for which in ("q", "k"):
        target = f"model.layers.{layer}.self_attn.{which}_norm.weight"
        plan.add(target, f"blk.{layer}.attn_{which}_norm.weight", (sizes.head,), norm)


def add_gated_mlp(
    plan: Plan,
    sizes: Sizes,
    layer: int,
    *,
    norm: Change = Change.NONE,
    norm_name: str = "post_attention_layernorm",
    biases: bool = False,
) -> None:
    """The MLP of a layer with its gate, and the norm before it."""
    here, there = f"blk.{layer}.", f"model.layers.{layer}."
    plan.add(f"{there}{norm_name}.weight", here + "ffn_norm.weight", (sizes.width,), norm)
    shapes = {"gate": (sizes.inner, sizes.width), "up": (sizes.inner, sizes.width), "down": (sizes.width, sizes.inner)}
    for which, shape in shapes.items():
        name = f"{there}mlp.{which}_proj"
        plan.add(f"{name}.weight", f"{here}ffn_{which}.weight", shape)
        if biases:
            plan.add_or_zeros(f"{name}.bias", f"{here}ffn_{which}.bias", shape[:1])
