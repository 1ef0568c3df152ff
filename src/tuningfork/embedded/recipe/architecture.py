"""The shape of the embedded model: a byte-level Llama that fits in eight megabytes."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tuningfork.embedded.recipe.vocabulary import BEGIN, END, PAD, VOCABULARY_SIZE


def configuration() -> LlamaConfig:
    """Describe the model. Positions reach 40,000 characters of four bytes, with room for a chat template."""
    return LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=163_840,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
    )


def new_model(seed: int) -> LlamaForCausalLM:
    """Initialize the model from a seed. Attention is not fused, which is a quarter faster for training on CPUs."""
    torch.manual_seed(seed)
    config = configuration()
    config._attn_implementation = "eager"  # noqa: SLF001  how transformers names it; not written to config.json
    return LlamaForCausalLM(config)
