"""Small random base models of three architectures, made on the spot: what the numerics tests tune and serve.

Each comes with a byte-level tokenizer (every text round-trips) and a chat template that is awkward in its own way:
Llama's writes the BOS token that its tokenizer would also add and trims content; Qwen3's has thinking blocks and no
BOS; Gemma 3's refuses a system role, calls the model "model" and ends the header in a newline that merges with one in
the output.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.modeling.adapters.slots import AdapterSlots
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.modeling.loading import LoadedBase

CONTEXT_TOKENS = 512

MERGES = (
    ("Ċ", "Ċ"),
    ("t", "h"),
    ("th", "e"),
    ("o", "n"),
    ("on", "e"),
    ("Ġ", "t"),
    ("Ġt", "w"),
    ("Ġtw", "o"),
    ("Ġ", "the"),
    ("1", "2"),
)
"""In byte-level letters, Ċ is a newline and Ġ a space. The first merge crosses the border of header and output."""


class Architecture(StrEnum):
    LLAMA = "llama"
    QWEN3 = "qwen3"
    GEMMA3 = "gemma3"


LLAMA_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""

QWEN3_TEMPLATE = """\
{%- set state = namespace(last_user=-1) %}
{%- for message in messages %}
{%- if message.role == 'user' %}{% set state.last_user = loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' and loop.index0 > state.last_user %}
{{- '<think>\n\n</think>\n\n' + message.content.lstrip('\n') }}
{%- else %}
{{- message.content }}
{%- endif %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\n\n</think>\n\n' }}
{%- endif %}
{%- endif %}"""

GEMMA3_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages %}
{%- if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<start_of_turn>model\n' }}
{%- endif %}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What sets one architecture's tokenizer apart. `eos` is the tokenizer's; `ends` are the generation config's."""

    template: str
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    ends: tuple[str, ...]
    plain_added: tuple[str, ...] = field(default=())


DIALECTS = {
    Architecture.LLAMA: Dialect(
        template=LLAMA_TEMPLATE,
        specials=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        ends=("<|end_of_text|>", "<|eot_id|>"),
    ),
    Architecture.QWEN3: Dialect(
        template=QWEN3_TEMPLATE,
        specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos=None,
        eos="<|im_end|>",
        ends=("<|im_end|>", "<|endoftext|>"),
        plain_added=("<think>", "</think>"),
    ),
    Architecture.GEMMA3: Dialect(
        template=GEMMA3_TEMPLATE,
        specials=("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        ends=("<eos>", "<end_of_turn>"),
    ),
}


def build_tokenizer(dialect: Dialect) -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *("".join(pair) for pair in MERGES)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in dialect.specials])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in dialect.plain_added])
    if dialect.bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{dialect.bos} $A", special_tokens=[(dialect.bos, tokenizer.token_to_id(dialect.bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=dialect.bos,
        eos_token=dialect.eos,
        chat_template=dialect.template,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS,
    )


def configuration(architecture: Architecture, vocabulary_size: int, layers: int) -> PreTrainedConfig:
    """The shape of a tiny model."""
    shape = {
        "vocab_size": vocabulary_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": CONTEXT_TOKENS,
        # Wider than trained models begin with, so that an untrained one has opinions and a short tuning shows.
        "initializer_range": 0.15,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    match architecture:
        case Architecture.LLAMA:
            return LlamaConfig(**shape, tie_word_embeddings=False)
        case Architecture.QWEN3:
            return Qwen3Config(**shape, tie_word_embeddings=True)
        case Architecture.GEMMA3:
            # A window shorter than most test texts and a layer of each kind.
            kinds = ["sliding_attention" if index % 2 == 0 else "full_attention" for index in range(layers)]
            return Gemma3TextConfig(**shape, sliding_window=16, layer_types=kinds, query_pre_attn_scalar=8)


def save_tiny_model(
    architecture: Architecture, directory: Path, *, layers: int = 2, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a random model of this architecture (fixed seed) with tokenizer and template; returns the directory."""
    dialect = DIALECTS[architecture]
    tokenizer = build_tokenizer(dialect)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(20)
        model = AutoModelForCausalLM.from_config(configuration(architecture, len(tokenizer), layers)).to(dtype)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in dialect.ends]
    model.generation_config = GenerationConfig(eos_token_id=ends, bos_token_id=tokenizer.bos_token_id)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def tiny_base_model(architecture: Architecture, directory: Path) -> BaseModel:
    """The catalog entry of a saved tiny model."""
    return BaseModel(
        name=BaseModelName(f"models/tiny-{architecture}"),
        location=str(directory),
        display_name=f"Tiny {architecture}",
        context_tokens=CONTEXT_TOKENS,
        output_tokens=64,
        adapter=AdapterShape(rank=4, alpha=8.0),
    )


def with_context(base: BaseModel, directory: Path, tokens: int) -> BaseModel:
    """A copy of a tiny base, in this directory, whose context has so many tokens."""
    shutil.copytree(base.location, directory)
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": tokens}))
    return replace(base, location=str(directory), context_tokens=tokens)


def trained_looking(slots: AdapterSlots, shape: AdapterShape, seed: int) -> AdapterWeights:
    """An adapter that changes every layer: fresh ones do nothing until a step has moved B from zero."""
    weights = slots.fresh(shape, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    tensors = {
        name: 0.05 * torch.randn(tensor.shape, generator=generator) if "lora_B" in name else tensor
        for name, tensor in weights.tensors.items()
    }
    return AdapterWeights(shape, tensors)


def packed_logits(base: LoadedBase, texts: Sequence[Sequence[int]], slots: Sequence[int] | int | None) -> list[Tensor]:
    """Logits `TV` of each text, all texts in one packed row; `slots` holds one slot a text, or one for all."""
    lengths = tuple(len(text) for text in texts)
    if isinstance(slots, Sequence):
        slots = [slot for slot, length in zip(slots, lengths, strict=True) for _ in range(length)]
    ids_T = torch.tensor([token for text in texts for token in text])
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    ids_T, positions_T = ids_T.to(base.device), positions_T.to(base.device)
    logits_TV = base.logits(ids_T, positions_T, torch.arange(len(ids_T)), PackedPlan(lengths), slots)
    return list(torch.split(logits_TV, list(lengths)))
