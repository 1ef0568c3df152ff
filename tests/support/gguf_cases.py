"""Models of every family whose GGUF files can be read and written, as changes of the small models of `families`."""

from typing import Any

from tiny_models import CONTEXT_TOKENS

LLAMA_3_1 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 2": ("smollm2", {"tie_word_embeddings": False}),
    "smollm 2": ("smollm2", {}),
    "llama 3.2": ("llama3", {"rope_parameters": LLAMA_3_1, "tie_word_embeddings": True, "head_dim": 32}),
    "llama with factors of its own": ("llama3", {}),
    "llama with linear scaling": ("llama3", {"rope_parameters": LINEAR}),
    "llama with biases": ("llama3", {"attention_bias": True, "mlp_bias": True}),
    "llama with one key head": ("llama3", {"num_key_value_heads": 1}),
    "smollm 3": ("smollm3", {"num_hidden_layers": 5, "no_rope_layer_interval": 4, "pad_token_id": None}),
    "mistral with a window": ("mistral", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen 2": ("qwen2", {}),
    "qwen 2 with yarn": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "original_max_position_embeddings": CONTEXT_TOKENS // 4,
            }
        },
    ),
    "qwen 2 with a tied head": ("qwen2", {"tie_word_embeddings": True}),
    "qwen 3": ("qwen3", {}),
    "gemma": ("gemma", {}),
    "gemma 2": ("gemma2", {"query_pre_attn_scalar": 24}),
    "gemma 3": ("gemma3", {"query_pre_attn_scalar": 16, "num_hidden_layers": 7, "layer_types": None}),
    "gemma 3 with capped logits": (
        "gemma3",
        {"query_pre_attn_scalar": 16, "layer_types": None, "final_logit_softcapping": 4.0},
    ),
    "phi 2": ("phi", {}),
    "phi 3": ("phi3", {}),
    "phi 3 without a window": ("phi3", {"sliding_window": None}),
    "phi 4 mini": ("phi4-mini", {}),
}
