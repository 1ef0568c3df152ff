"""Phi 1, 1.5 and 2 (`phi2`), and Phi 3 and 4 (`phi3`): what their GGUF files say, as transformers says it.

Source: as in `llamas`.
"""

import math
from typing import Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.llamas import add_ends
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Plan
from tuningfork.modeling.files.gguf.rotations import rope_of
from tuningfork.modeling.files.gguf.sizes import Sizes, check_scale, sizes_of
from tuningfork.modeling.files.gguf.values import read_numbers

Config = dict[str, Any]


def phi2(metadata: Metadata, plan: Plan) -> Config:
    """Phi 1, 1.5 and 2: biases everywhere, LayerNorm, partial rotations."""
    sizes = sizes_of(metadata, plan)
    check_scale(metadata, sizes)
    if sizes.queries != sizes.width:
        raise BaseUnusable("its heads are not as long as its width says, which Phi does not have in transformers")
    rope = rope_of(metadata, plan, dimensions=sizes.rotated, context=sizes.context)
    config = _common(sizes) | {
        "architectures": ["PhiForCausalLM"],
        "model_type": "phi",
        "hidden_act": "gelu_new",
        "layer_norm_eps": metadata.real(metadata.of_model("attention.layer_norm_epsilon")),
        "rope_parameters": rope | {"partial_rotary_factor": _rotated_part(sizes)},
        "tie_word_embeddings": False,
        "qk_layernorm": False,
    }
    ends = {"output_norm": "model.final_layernorm", "output": "lm_head"}
    plan.add("model.embed_tokens.weight", "token_embd.weight", (sizes.vocabulary, sizes.width))
    _add_with_bias(plan, ends["output_norm"], "output_norm", (sizes.width,))
    _add_with_bias(plan, ends["output"], "output", (sizes.vocabulary, sizes.width))
    for layer in range(sizes.layers):
        _add_phi2_layer(plan, sizes, f"blk.{layer}.", f"model.layers.{layer}.")
    return config


def phi3(metadata: Metadata, plan: Plan) -> Config:
    """Phi 3, 3.5, 4 and 4 mini: fused projections, partial rotations, LongRoPE."""
    sizes = sizes_of(metadata, plan)
    check_scale(metadata, sizes)
    key = metadata.of_model
    window = metadata.count(key("attention.sliding_window"), 0)
    trained = metadata.count(key("rope.scaling.original_context_length"), sizes.context)
    config = _common(sizes) | {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "hidden_act": "silu",
        "rms_norm_eps": metadata.real(key("attention.layer_norm_rms_epsilon")),
        "original_max_position_embeddings": trained,
        "rope_parameters": _phi3_rope(metadata, plan, sizes, trained) | {"partial_rotary_factor": _rotated_part(sizes)},
        "sliding_window": window or None,
        "tie_word_embeddings": not plan.has("output.weight"),
    }
    if sizes.queries != sizes.width:
        config["head_dim"] = sizes.head
    add_ends(plan, sizes)
    for layer in range(sizes.layers):
        here, there = f"blk.{layer}.", f"model.layers.{layer}."
        plan.add(there + "input_layernorm.weight", here + "attn_norm.weight", (sizes.width,))
        fused = sizes.queries + 2 * sizes.keys
        plan.add(there + "self_attn.qkv_proj.weight", here + "attn_qkv.weight", (fused, sizes.width))
        plan.add(there + "self_attn.o_proj.weight", here + "attn_output.weight", (sizes.width, sizes.queries))
        plan.add(there + "post_attention_layernorm.weight", here + "ffn_norm.weight", (sizes.width,))
        plan.add(there + "mlp.gate_up_proj.weight", here + "ffn_up.weight", (2 * sizes.inner, sizes.width))
        plan.add(there + "mlp.down_proj.weight", here + "ffn_down.weight", (sizes.width, sizes.inner))
    return config


def _common(sizes: Sizes) -> Config:
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "max_position_embeddings": sizes.context,
    }


def _add_phi2_layer(plan: Plan, sizes: Sizes, here: str, there: str) -> None:
    _add_with_bias(plan, there + "input_layernorm", here + "attn_norm", (sizes.width,))
    rows = {"q": sizes.queries, "k": sizes.keys, "v": sizes.keys}
    if plan.has(here + "attn_qkv.weight"):
        for kind, columns in (("weight", (sizes.width,)), ("bias", ())):
            targets = {f"{there}self_attn.{which}_proj.{kind}": count for which, count in rows.items()}
            plan.add_slices(targets, f"{here}attn_qkv.{kind}", columns)
    else:
        for which, count in rows.items():
            _add_with_bias(plan, f"{there}self_attn.{which}_proj", f"{here}attn_{which}", (count, sizes.width))
    _add_with_bias(plan, there + "self_attn.dense", here + "attn_output", (sizes.width, sizes.queries))
    _add_with_bias(plan, there + "mlp.fc1", here + "ffn_up", (sizes.inner, sizes.width))
    _add_with_bias(plan, there + "mlp.fc2", here + "ffn_down", (sizes.width, sizes.inner))


def _add_with_bias(plan: Plan, target: str, source: str, shape: tuple[int, ...]) -> None:
    plan.add(f"{target}.weight", f"{source}.weight", shape)
    plan.add(f"{target}.bias", f"{source}.bias", shape[:1])


def _rotated_part(sizes: Sizes) -> float:
    part = sizes.rotated / sizes.head
    if sizes.rotated > sizes.head or int(sizes.head * part) != sizes.rotated:
        raise BaseUnusable(f"it rotates {sizes.rotated} of the {sizes.head} numbers of a head, which cannot be")
    return part


def _phi3_rope(metadata: Metadata, plan: Plan, sizes: Sizes, trained: int) -> dict[str, Any]:
    if not plan.has("rope_factors_short.weight"):
        return rope_of(metadata, plan, dimensions=sizes.rotated, context=sizes.context)
    key = metadata.of_model
    metadata.text(key("rope.scaling.type"), "longrope")
    short, long = (
        read_numbers(plan.take(f"rope_factors_{which}.weight", (sizes.rotated // 2,)), plan.file)
        for which in ("short", "long")
    )
    longer = sizes.context / trained if trained else 1.0
    usual = math.sqrt(1 + math.log(longer) / math.log(trained)) if longer > 1 and trained > 1 else 1.0
    given = metadata.real(key("rope.scaling.attn_factor"), usual)
    rope: dict[str, Any] = {
        "rope_type": "longrope",
        "rope_theta": metadata.real(key("rope.freq_base"), 10_000.0),
        "short_factor": short,
        "long_factor": long,
        "original_max_position_embeddings": trained,
    }
    return rope if math.isclose(given, usual, rel_tol=1e-4) else rope | {"attention_factor": given}
