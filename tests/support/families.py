"""The families of real models, each as a small configuration of its real architecture: what the proofs run on.

Sizes keep what can go wrong at full size: several groups of key/value heads with several query heads each, head sizes
that are no power of two or not hidden size / heads, windows shorter than the texts, caps within reach of what they cap,
and rotations that are scaled within the first few dozen positions. `peculiarities` are what a family does that others
do not, each as the change that would undo it; `variants` are what its configuration allows besides.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import (
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from tiny_models import CONTEXT_TOKENS, Architecture

WINDOW = 12
"""Of every family with sliding windows; shorter than most texts of the proofs."""

_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 48,
}
LONGROPE_TOKENS = 256
_PHI4_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0 + 0.3 * index for index in range(9)],
    "long_factor": [2.0 + 2 * index for index in range(9)],
    "original_max_position_embeddings": LONGROPE_TOKENS,
}
_GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
}


@dataclass(frozen=True, kw_only=True)
class Peculiarity:
    """One thing that a family does, as what takes it away: other settings, or weights that do nothing."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    neutral: str | None = None
    """Parameters whose names match this pattern are set back to where their training begins."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture: its configuration, whose tokenizer and template it has, and what sets it apart."""

    config: Callable[..., PreTrainedConfig]
    shape: Mapping[str, Any]
    dialect: Architecture = Architecture.LLAMA
    peculiarities: Mapping[str, Peculiarity] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_WINDOWED = Peculiarity(settings={"sliding_window": CONTEXT_TOKENS})
_NORMED_HEADS = Peculiarity(neutral=r"\.[qk]_norm\.")
_WEIGHTED_NORMS = Peculiarity(neutral=r"(layernorm|\.norm)\.weight")


def _unscaled(theta: float) -> Peculiarity:
    return Peculiarity(settings={"rope_parameters": {"rope_type": "default", "rope_theta": theta}})


def _with_vision(vocab_size: int, **text: Any) -> Gemma3Config:
    """A model that could look at pictures too, which is what Gemma 3 is from 4B on."""
    return Gemma3Config(
        text_config={"vocab_size": vocab_size, **text},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        image_token_index=vocab_size - 1,
        boi_token_index=vocab_size - 2,
        eoi_token_index=vocab_size - 3,
    )


_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": CONTEXT_TOKENS // 4,
}

FAMILIES: dict[str, Family] = {
    # Llama 3.1 and later: rotations stretched by frequency.
    "llama3": Family(
        config=LlamaConfig,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "rope_parameters": _LLAMA3_ROPE,
        },
        peculiarities={"rope scaling": _unscaled(500_000.0), "norms": _WEIGHTED_NORMS},
        variants={
            "biases": {"attention_bias": True, "mlp_bias": True},
            "one key/value head": {"num_key_value_heads": 1},
            "a key/value head for each query head": {"num_key_value_heads": 4},
            "another activation": {"hidden_act": "gelu"},
            "another epsilon": {"rms_norm_eps": 0.03},
        },
    ),
    # SmolLM 1 and 2: a Llama with a tied head and an odd number of heads.
    "smollm2": Family(
        config=LlamaConfig,
        shape={
            "hidden_size": 144,
            "intermediate_size": 200,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        },
        dialect=Architecture.QWEN3,
        peculiarities={"rope theta": _unscaled(10_000.0)},
    ),
    # SmolLM3: every so many layers have no rotation.
    "smollm3": Family(
        config=SmolLM3Config,
        shape={
            "hidden_size": 80,
            "intermediate_size": 96,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "no_rope_layer_interval": 2,
            "tie_word_embeddings": True,
        },
        dialect=Architecture.QWEN3,
        peculiarities={
            "layers without rotation": Peculiarity(settings={"no_rope_layers": [1, 1, 1]}),
            "rope theta": _unscaled(10_000.0),
        },
        variants={
            "windows without rotation": {"use_sliding_window": True, "sliding_window": WINDOW},
            "an interval of its own": {"no_rope_layer_interval": 3},
        },
    ),
    "qwen2": Family(
        config=Qwen2Config,
        shape={
            "hidden_size": 96,
            "intermediate_size": 112,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        },
        dialect=Architecture.QWEN3,
        peculiarities={
            "biases of q, k, v": Peculiarity(neutral=r"_proj\.bias"),
            "rope theta": _unscaled(10_000.0),
        },
        variants={"yarn": {"rope_parameters": _YARN}},
    ),
    # Qwen 2 with its upper layers windowed, as its configuration allows, and a tied head, as its small ones have.
    "qwen2-windowed": Family(
        config=Qwen2Config,
        shape={
            "hidden_size": 64,
            "intermediate_size": 112,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 1,
        },
        dialect=Architecture.QWEN3,
        peculiarities={"sliding window": _WINDOWED},
    ),
    "qwen3": Family(
        config=Qwen3Config,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 20,
            "tie_word_embeddings": False,
        },
        dialect=Architecture.QWEN3,
        peculiarities={"norms of q and k": _NORMED_HEADS},
        variants={
            "biases": {"attention_bias": True},
            "yarn": {"rope_parameters": _YARN},
            "windows": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
        },
    ),
    "qwen3-tied": Family(
        config=Qwen3Config,
        shape={
            "hidden_size": 56,
            "intermediate_size": 72,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": True,
        },
        dialect=Architecture.QWEN3,
        peculiarities={"norms of q and k": _NORMED_HEADS},
    ),
    "gemma": Family(
        config=GemmaConfig,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 20,
        },
        dialect=Architecture.GEMMA3,
        peculiarities={"norms": _WEIGHTED_NORMS},
    ),
    "gemma2": Family(
        config=Gemma2Config,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "query_pre_attn_scalar": 18,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 4.0,
        },
        dialect=Architecture.GEMMA3,
        peculiarities={
            "soft-capped scores": Peculiarity(settings={"attn_logit_softcapping": None}),
            "soft-capped logits": Peculiarity(settings={"final_logit_softcapping": None}),
            "sliding window": _WINDOWED,
            "windows in turn": Peculiarity(settings={"layer_types": ["sliding_attention"] * 3}),
            "scaling of queries": Peculiarity(settings={"query_pre_attn_scalar": 24}),
            "norms after attention and MLP": Peculiarity(neutral=r"post_(attention|feedforward)_layernorm"),
            "norms": Peculiarity(neutral=r"norm\.weight"),
        },
        variants={
            "scores not capped": {"attn_logit_softcapping": None},
            "logits not capped": {"final_logit_softcapping": None},
            "an untied head": {"tie_word_embeddings": False},
            "the exact activation": {"hidden_activation": "gelu"},
        },
    ),
    "gemma3": Family(
        config=Gemma3TextConfig,
        shape={
            "hidden_size": 60,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 20,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": _GEMMA3_ROPE,
        },
        dialect=Architecture.GEMMA3,
        peculiarities={
            "norms of q and k": _NORMED_HEADS,
            "sliding window": _WINDOWED,
            "a rotation for each kind of layer": Peculiarity(
                settings={"rope_parameters": dict.fromkeys(_GEMMA3_ROPE, _GEMMA3_ROPE["full_attention"])}
            ),
            "scaled global rotation": Peculiarity(
                settings={
                    "rope_parameters": _GEMMA3_ROPE
                    | {"full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0}}
                }
            ),
            "scaling of queries": Peculiarity(settings={"query_pre_attn_scalar": 16}),
        },
        variants={
            "logits capped": {"final_logit_softcapping": 4.0},
            "scores capped": {"attn_logit_softcapping": 3.0},
            "biases": {"attention_bias": True},
        },
    ),
    "mistral": Family(
        config=MistralConfig,
        shape={
            "hidden_size": 64,
            "intermediate_size": 104,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 20,
            "sliding_window": WINDOW,
            "tie_word_embeddings": False,
        },
        peculiarities={"sliding window": _WINDOWED},
        variants={"no window": {"sliding_window": None}},
    ),
    "gemma3-with-vision": Family(
        config=_with_vision,
        shape={
            "hidden_size": 48,
            "intermediate_size": 56,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": _GEMMA3_ROPE,
        },
        dialect=Architecture.GEMMA3,
    ),
    # Phi-3 mini: fused projections, as many key/value heads as query heads, a window.
    "phi3": Family(
        config=Phi3Config,
        shape={
            "hidden_size": 72,
            "intermediate_size": 88,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "sliding_window": WINDOW,
            "tie_word_embeddings": False,
        },
        peculiarities={"sliding window": _WINDOWED},
        variants={"no window": {"sliding_window": None}},
    ),
    # Phi-4 mini has Phi-3's architecture with groups of heads, a tied head, and a rotation of part of each head, of
    # which there are two: for texts of the pretraining's length, and for longer ones.
    "phi4-mini": Family(
        config=Phi3Config,
        shape={
            "hidden_size": 96,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "original_max_position_embeddings": LONGROPE_TOKENS,
            "rope_parameters": _PHI4_ROPE,
        },
        peculiarities={
            "partial rotation": Peculiarity(
                settings={
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
                }
            ),
            "rope scaling": Peculiarity(
                settings={
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.75}
                }
            ),
        },
    ),
    # Phi-1, 1.5 and 2: attention and MLP side by side behind one norm, biases everywhere.
    "phi": Family(
        config=PhiConfig,
        shape={
            "hidden_size": 64,
            "intermediate_size": 112,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "partial_rotary_factor": 0.5,
            "tie_word_embeddings": False,
        },
        peculiarities={
            "partial rotation": Peculiarity(
                settings={
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
                }
            ),
            "biases": Peculiarity(neutral=r"(dense|fc1|fc2|_proj|lm_head)\.bias"),
            "norms with biases": Peculiarity(neutral=r"layernorm\."),
        },
        variants={"norms of q and k": {"qk_layernorm": True}},
    ),
}

LAYERS = 3


def family_config(name: str, vocabulary_size: int, variant: str | None = None) -> PreTrainedConfig:
    family = FAMILIES[name]
    return family.config(
        vocab_size=vocabulary_size,
        num_hidden_layers=LAYERS,
        max_position_embeddings=CONTEXT_TOKENS,
        # So wide that logits, scores and gates differ from token to token.
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **(family.shape | (family.variants[variant] if variant else {})),
    )
