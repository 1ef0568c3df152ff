"""The models, data and adapters that both sides of a comparison are given: random, but the same for everyone.

A model directory made here has a tokenizer of whole words, one a token, and a chat template that adds no token before
an answer; so a text has exactly as many tokens as words, and both sides see the same ids.
"""

import hashlib
import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from tuningfork.domain.base_model import AdapterShape, BaseModel, with_prefix
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights

ADAPTER = AdapterShape(rank=8, alpha=32.0)
CONTEXT_TOKENS = 8_192
ANSWER_TOKENS = 12
"""Trained tokens of each random example; the last of them ends the turn."""

_PAD, _UNKNOWN, _END = "<|pad|>", "<|unknown|>", "<|end|>"
_CONTROL = (_PAD, _UNKNOWN, _END)
_TEMPLATE = (
    "{%- for message in messages -%}{{- message['content'] -}}"
    "{{- '<|end|>' if message['role'] == 'assistant' else ' ' -}}{%- endfor -%}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A Llama's dimensions."""

    name: str
    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = True


SMOLLM2_135M = ModelShape(name="SmolLM2-135M", layers=30, hidden=576, mlp=1_536, heads=9, kv_heads=3, vocabulary=49_152)
LLAMA_1B = ModelShape(name="Llama-3.2-1B", layers=16, hidden=2_048, mlp=8_192, heads=32, kv_heads=8, vocabulary=128_256)
LLAMA_3B = ModelShape(name="Llama-3.2-3B", layers=28, hidden=3_072, mlp=8_192, heads=24, kv_heads=8, vocabulary=128_256)
LLAMA_8B = ModelShape(
    name="Llama-3.1-8B", layers=32, hidden=4_096, mlp=14_336, heads=32, kv_heads=8, vocabulary=128_256, tied=False
)
TINY = ModelShape(name="tiny", layers=2, hidden=128, mlp=256, heads=2, kv_heads=1, vocabulary=512)


def make_model(directory: Path, shape: ModelShape, seed: int = 0) -> Path:
    """Write a random Llama in bfloat16; speed does not depend on what the weights are."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=shape.tied,
        pad_token_id=_CONTROL.index(_PAD),
        bos_token_id=None,
        eos_token_id=_CONTROL.index(_END),
        dtype="bfloat16",
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        # A control token's logit is then exactly 0 and never the largest: no answer ends before its time.
        model.get_output_embeddings().weight[: len(_CONTROL)] = 0
    model.save_pretrained(directory)
    _tokenizer(shape.vocabulary).save_pretrained(directory)
    return directory


def kept_model(directory: Path, shape: ModelShape) -> Path:
    """The model below `directory`, made once: peers that compile for a model do so again for one in another place."""
    recipe = hashlib.sha256(f"{shape}{Path(__file__).read_text(encoding='utf-8')}".encode()).hexdigest()[:12]
    model = directory / f"{shape.name}-{recipe}"
    if not model.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as aside:
            make_model(Path(aside) / "model", shape).rename(model)
    return model


def catalog_entry(directory: Path, shape: ModelShape) -> BaseModel:
    """The directory as our engines take it."""
    return BaseModel(
        name=with_prefix(shape.name.lower()), location=str(directory), display_name="", context_tokens=CONTEXT_TOKENS
    )


def random_words(count: int, vocabulary: int, seed: str) -> str:
    """So many words, each of them one token."""
    draw = random.Random(seed)
    return " ".join(f"w{draw.randrange(len(_CONTROL), vocabulary)}" for _ in range(count))


def random_examples(lengths: Sequence[int], vocabulary: int, seed: int) -> Examples:
    """One example for each length, prompt and answer together, with `ANSWER_TOKENS` trained tokens."""
    return tuple(
        Conversation.pair(
            random_words(length - ANSWER_TOKENS, vocabulary, f"{seed}/{index}/input"),
            random_words(ANSWER_TOKENS - 1, vocabulary, f"{seed}/{index}/output"),
        )
        for index, length in enumerate(lengths)
    )


def make_adapters(directory: Path, shape: ModelShape, base: Path, count: int) -> list[Path]:
    """Write so many different adapters that all change what the model computes, in PEFT's format."""
    return [_make_adapter(directory / f"adapter-{index}", shape, base, index) for index in range(count)]


def _make_adapter(directory: Path, shape: ModelShape, base: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (outputs, inputs) in _linears(shape).items():
        a_RD = torch.empty(ADAPTER.rank, inputs)
        nn.init.kaiming_uniform_(a_RD, a=math.sqrt(5), generator=generator)
        tensors[f"{name}.lora_A.weight"] = a_RD
        tensors[f"{name}.lora_B.weight"] = 0.01 * torch.randn(outputs, ADAPTER.rank, generator=generator)
    adapter_format.save(directory, AdapterWeights(ADAPTER, tensors), str(base))
    return directory


def _linears(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """PEFT's name of each linear layer of the blocks, with its outputs and inputs."""
    kv = shape.hidden // shape.heads * shape.kv_heads
    within = {
        "self_attn.q_proj": (shape.hidden, shape.hidden),
        "self_attn.k_proj": (kv, shape.hidden),
        "self_attn.v_proj": (kv, shape.hidden),
        "self_attn.o_proj": (shape.hidden, shape.hidden),
        "mlp.gate_proj": (shape.mlp, shape.hidden),
        "mlp.up_proj": (shape.mlp, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.mlp),
    }
    return {
        f"base_model.model.model.layers.{layer}.{name}": sizes
        for layer in range(shape.layers)
        for name, sizes in within.items()
    }


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = {token: index for index, token in enumerate(_CONTROL)}
    words |= {f"w{index}": index for index in range(len(_CONTROL), vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        unk_token=_UNKNOWN,
        eos_token=_END,
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS,
    )
