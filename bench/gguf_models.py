"""Writes a Llama's safetensors, and adapters in PEFT's format, as the GGUF files that llama.cpp reads.

The files are for comparisons of speed and of greedy answers over token ids: they hold no tokenizer.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors import safe_open
from torch import Tensor

F16, Q8_0 = "f16", "q8_0"
_TYPES = {
    F16: (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    Q8_0: (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
_LAYER_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OTHER_PARTS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def kept_model(directory: Path, model: Path, kind: str) -> Path:
    """The model as a GGUF file below `directory`, written once. `kind` is the type of the matrices, `F16` or `Q8_0`.

    Raises:
        ValueError: the model is not a Llama without biases and without scaled rotations.

    """
    recipe = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(model.glob("*.safetensors")):
        recipe.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    file = directory / f"{model.name}-{recipe.hexdigest()[:12]}-{kind}.gguf"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as aside:
            _write_model(Path(aside) / "model.gguf", model, kind).rename(file)
    return file


def write_adapter(file: Path, adapter: Path, model: Path) -> Path:
    """Write the adapter, a directory in PEFT's format, over that model."""
    config, shape = _json(adapter / "adapter_config.json"), _checked(model)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for name, tensor in _tensors(adapter):
        module, _, side = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        values = _reordered(module, tensor, shape) if side == "lora_B" else tensor
        writer.add_tensor(f"{_named(module)}.weight.{side.lower()}", values.float().numpy())
    return _closed(writer, file)


def _write_model(file: Path, model: Path, kind: str) -> Path:
    shape = _checked(model)
    stored, file_type = _TYPES[kind]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_file_type(file_type)
    writer.add_vocab_size(shape["vocab_size"])
    writer.add_context_length(shape["max_position_embeddings"])
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(shape["num_attention_heads"])
    writer.add_head_count_kv(shape["num_key_value_heads"])
    writer.add_rope_dimension_count(shape["hidden_size"] // shape["num_attention_heads"])
    writer.add_rope_freq_base(float(_rotations(shape)["rope_theta"]))
    writer.add_layer_norm_rms_eps(shape["rms_norm_eps"])
    writer.add_tokenizer_model("none")
    for name, tensor in _tensors(model):
        module = name.removesuffix(".weight")
        if module == "lm_head" and shape.get("tie_word_embeddings"):
            continue
        values = _reordered(module, tensor, shape).float().numpy()
        if values.ndim == 1:
            writer.add_tensor(f"{_named(module)}.weight", values)
        elif stored is gguf.GGMLQuantizationType.F16:
            writer.add_tensor(f"{_named(module)}.weight", values.astype(np.float16))
        else:
            writer.add_tensor(f"{_named(module)}.weight", gguf.quantize(values, stored), raw_dtype=stored)
    return _closed(writer, file)


def _checked(model: Path) -> Mapping[str, Any]:
    """The model's configuration."""
    shape = _json(model / "config.json")
    scaled = _rotations(shape).get("rope_type", "default") != "default"
    if shape.get("model_type") != "llama" or scaled or shape.get("attention_bias") or shape.get("mlp_bias"):
        raise ValueError(f"{model} is not a Llama without biases and without scaled rotations, such as SmolLM2")
    return shape


def _rotations(shape: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the rotations, which older releases of transformers wrote in two other fields."""
    scaling = shape.get("rope_scaling") or {}
    found: Mapping[str, Any] = shape.get("rope_parameters") or {
        "rope_theta": shape.get("rope_theta", 10_000.0),
        **scaling,
    }
    return found


def _reordered(module: str, tensor: Tensor, shape: Mapping[str, Any]) -> Tensor:
    """The tensor with the rows of each query and key head as llama.cpp's rotation wants them.

    It rotates neighbouring rows of a head; transformers rotates a row with the one half a head further.
    """
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(module.rpartition(".")[2])
    if heads is None:
        return tensor
    halves = tensor.reshape(shape[heads], 2, -1, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape).contiguous()


def _named(module: str) -> str:
    if module in _OTHER_PARTS:
        return _OTHER_PARTS[module]
    layer, _, part = module.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_LAYER_PARTS[part]}"


def _tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  it is not a mapping
                yield name, file.get_tensor(name)


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _closed(writer: gguf.GGUFWriter, file: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
