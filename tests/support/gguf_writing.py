"""Writes transformers' models as GGUF files in the way of llama.cpp's converter, and files that are wrong on purpose.

The rules are those of `convert_hf_to_gguf.py`: names by the gguf package's own table, q and k of Llama's kin permuted,
one added to the weights of Gemma's norms, Llama 3's scaling of rotations as factors in a tensor.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel

from tiny_models import DIALECTS, Architecture, build_tokenizer

Kind = gguf.GGMLQuantizationType
Change = Callable[[gguf.GGUFWriter], None]

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "smollm3": "smollm3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "phi": "phi2",
    "phi3": "phi3",
}
PERMUTED = ("llama", "mistral", "smollm3")


def write_gguf(
    model: PreTrainedModel,
    tokenizer: Mapping[str, Any],
    file: Path,
    *,
    kind: Kind = Kind.F32,
    change: Change | None = None,
) -> Path:
    """Write a model and the keys of its tokenizer; matrices in this type, all else in float32."""
    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("a small model")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_sizes(writer, config)
    _add_rotation(writer, config)
    _ADDED.get(config.model_type, lambda *_: None)(writer, config)
    for key, value in tokenizer.items():
        add(writer, key, value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        translated = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert translated, name
        _add_tensor(writer, translated, _as_stored(name, tensor, config), kind)
    if change is not None:
        change(writer)
    _finish(writer)
    return file


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Add a key with the type that the converter gives to such a value."""
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def add_numbers(writer: gguf.GGUFWriter, name: str, numbers: Any) -> None:
    """Add a tensor in float32."""
    writer.add_tensor(name, np.asarray(numbers, np.float32))


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: Kind) -> None:
    if values.ndim == 1 or kind is Kind.F32:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def _as_stored(name: str, tensor: torch.Tensor, config: PreTrainedConfig) -> np.ndarray:
    values = tensor.float().numpy()
    if config.model_type in PERMUTED and ".q_proj." in name:
        values = _permuted(values, config.num_attention_heads)
    if config.model_type in PERMUTED and ".k_proj." in name:
        values = _permuted(values, config.num_key_value_heads)
    if config.model_type.startswith("gemma") and name.endswith("norm.weight"):
        values = values + 1
    return np.ascontiguousarray(values)


def _permuted(values: np.ndarray, heads: int) -> np.ndarray:
    shape = (heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return values.reshape(shape).swapaxes(1, 2).reshape(values.shape)


def _add_sizes(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if config.model_type == "phi":
        writer.add_layer_norm_eps(config.layer_norm_eps)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if getattr(config, "head_dim", None) is not None:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if config.model_type in PERMUTED:
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(_head(config))


def _head(config: PreTrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _add_rotation(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    # Gemma 1's and 2's and Phi 2's files leave out the base of their rotations.
    if config.model_type in ("gemma", "gemma2", "phi"):
        return
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_rope_freq_base(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif kind == "llama3":
        add_numbers(writer, "rope_freqs.weight", _llama_3_factors(rope, _head(config)))


def _llama_3_factors(rope: Mapping[str, Any], head: int) -> list[float]:
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    factors = []
    for frequency in 1.0 / (rope["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float32) / head)):
        wave = 2 * math.pi / frequency.item()
        if wave < high:
            factors.append(1.0)
        elif wave > low:
            factors.append(rope["factor"])
        else:
            smooth = rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]
            smooth /= rope["high_freq_factor"] - rope["low_freq_factor"]
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


def _gemma2(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    writer.add_final_logit_softcapping(config.final_logit_softcapping)
    writer.add_sliding_window(config.sliding_window)


def _gemma3(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    writer.add_rope_freq_base_swa(config.rope_parameters["sliding_attention"]["rope_theta"])
    writer.add_sliding_window(config.sliding_window)
    if config.final_logit_softcapping:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def _mistral(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    if config.sliding_window:
        writer.add_sliding_window(config.sliding_window)


def _phi2(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    part = config.rope_parameters["partial_rotary_factor"]
    writer.add_rope_dimension_count(int(part * config.hidden_size) // config.num_attention_heads)


def _phi3(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    rope = config.rope_parameters
    part = rope.get("partial_rotary_factor", 1.0)
    trained = rope.get("original_max_position_embeddings", config.original_max_position_embeddings)
    writer.add_rope_dimension_count(int(part * config.hidden_size) // config.num_attention_heads)
    writer.add_rope_scaling_orig_ctx_len(trained)
    writer.add_sliding_window(config.sliding_window or 0)
    if rope["rope_type"] == "longrope":
        longer = config.max_position_embeddings / trained
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(longer) / math.log(trained)))
        add_numbers(writer, "rope_factors_long.weight", rope["long_factor"])
        add_numbers(writer, "rope_factors_short.weight", rope["short_factor"])


_ADDED = {
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "mistral": _mistral,
    "phi": _phi2,
    "phi3": _phi3,
}


def tokenizer_keys(
    directory: Path, *, pre: str, scores: list[float] | None = None, template: str = ""
) -> dict[str, Any]:
    """The keys of the tokenizer of a directory, as the converter writes them; with scores it is SentencePiece's."""
    read = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = {token["content"]: token["special"] for token in read["added_tokens"]}
    vocabulary = read["model"]["vocab"] | {token["content"]: token["id"] for token in read["added_tokens"]}
    tokens = [f"[PAD{number}]" for number in range(max(vocabulary.values()) + 1)]
    kinds = [int(gguf.TokenType.UNUSED)] * len(tokens)
    for text, number in vocabulary.items():
        tokens[number] = text
        kinds[number] = int(_kind_of(text, added, sentence_pieces=scores is not None))
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2" if scores is None else "llama",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
    }
    if scores is None:
        keys["tokenizer.ggml.merges"] = [" ".join(merge) for merge in read["model"]["merges"]]
    else:
        keys["tokenizer.ggml.scores"] = [*scores, *[-1000.0] * (len(tokens) - len(scores))]
    for name in ("bos", "eos", "unk", "pad"):
        if (text := config.get(f"{name}_token")) is not None:
            full = {"unk": "unknown", "pad": "padding"}.get(name, name)
            keys[f"tokenizer.ggml.{full}_token_id"] = vocabulary[text]
    if template:
        keys["tokenizer.chat_template"] = template
    return keys


def _kind_of(text: str, added: Mapping[str, bool], *, sentence_pieces: bool) -> gguf.TokenType:
    if text in added:
        if sentence_pieces and text == "<unk>":
            return gguf.TokenType.UNKNOWN
        return gguf.TokenType.CONTROL if added[text] else gguf.TokenType.USER_DEFINED
    if sentence_pieces and text.startswith("<0x"):
        return gguf.TokenType.BYTE
    return gguf.TokenType.NORMAL


def small_llama(directory: Path, **how: Any) -> Path:
    """A small model as a GGUF file in this directory."""
    tokenizer = build_tokenizer(DIALECTS[Architecture.LLAMA])
    tokenizer.save_pretrained(directory / "tokenizer")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(
            LlamaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=64)
        )
    return write_gguf(model, tokenizer_keys(directory / "tokenizer", pre="llama-bpe"), directory / "small.gguf", **how)
