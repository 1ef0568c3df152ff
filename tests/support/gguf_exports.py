"""Bases and adapters of every family that GGUF files have, on the disk, and their sums."""

import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from families import FAMILIES
from family_models import _move_from_beginning
from gguf_tokenizers import byte_level, finished, sentence_pieces
from tiny_models import CONTEXT_TOKENS
from tuningfork.domain.base_model import AdapterShape
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
RULES_OF = {"llama3": "llama-bpe", "smollm2": "smollm", "smollm3": "llama-bpe", "phi4-mini": "gpt-4o", "phi": "gpt-2"}
PIECES_OF = {
    "gemma": False,
    "gemma2": False,
    "gemma3": False,
    "gemma3-with-vision": False,
    "phi3": True,
    "mistral": True,
}
"""The families with SentencePiece tokenizers, and whether these put a space before a text."""
SHAPE = AdapterShape(rank=3, alpha=5.0)
_ADAPTED = re.compile(r"(?!.*vision).*\.layers\..*(proj|dense|fc1|fc2)\.weight")


def tokenizer_of(family: str, directory: Path) -> PreTrainedTokenizerFast:
    """A tokenizer of the kind that the family has, saved in this directory."""
    if family in PIECES_OF:
        made, _ = sentence_pieces(prefix=PIECES_OF[family])
        swallowing = family == "phi3"
        if swallowing:
            added = {"</s>": True, "<|endoftext|>": False}
            made.add_special_tokens(
                [AddedToken(text, special=True, normalized=False, rstrip=rstrip) for text, rstrip in added.items()]
            )
        tokenizer = finished(made, directory, begin="<s>", end="<|im_end|>", unknown="<unk>", swallowing=swallowing)
    else:
        made = byte_level(RULES_OF.get(family, "qwen2"))
        tokenizer = finished(made, directory, begin="<|begin|>", end="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory)
    return tokenizer


def save_base(family: str, changed: dict[str, Any], directory: Path) -> PreTrainedModel:
    """Write a small random model of a family with its tokenizer; returns the model."""
    tokenizer = tokenizer_of(family, directory)
    settings = {
        "vocab_size": len(tokenizer) + 3,
        "num_hidden_layers": 3,
        "max_position_embeddings": CONTEXT_TOKENS,
        "initializer_range": 0.15,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
    }
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(31)
        of_family = FAMILIES[family]
        model = AutoModelForCausalLM.from_config(of_family.config(**(settings | dict(of_family.shape) | changed)))
    _move_from_beginning(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    model.generation_config = GenerationConfig(eos_token_id=[tokenizer.eos_token_id, 7])
    model.save_pretrained(directory)
    return model.eval()


def save_adapter(model: PreTrainedModel, directory: Path) -> AdapterWeights:
    """Write an adapter that changes every linear layer."""
    generator = torch.Generator().manual_seed(4)
    tensors = {}
    for name, weight in model.state_dict().items():
        if _ADAPTED.fullmatch(name):
            layer = f"base_model.model.{name.removesuffix('.weight')}"
            rows, columns = weight.shape
            tensors[f"{layer}.lora_A.weight"] = 0.2 * torch.randn(SHAPE.rank, columns, generator=generator)
            tensors[f"{layer}.lora_B.weight"] = 0.2 * torch.randn(rows, SHAPE.rank, generator=generator)
    weights = AdapterWeights(SHAPE, tensors)
    adapter_format.save(directory, weights, "elsewhere")
    return weights


@torch.no_grad()
def add_adapter(model: PreTrainedModel, adapter: AdapterWeights) -> None:
    """Add the adapter to the weights of the model."""
    for name, weight in model.state_dict().items():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" in adapter.tensors:
            a_RD, b_OR = (adapter.tensors[f"{layer}.lora_{which}.weight"] for which in "AB")
            weight.add_(b_OR @ a_RD, alpha=SHAPE.alpha / SHAPE.rank)
