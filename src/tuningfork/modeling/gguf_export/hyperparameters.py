"""A model's configuration as keys of a GGUF file: the way back from `files/gguf/llamas`, `gemmas` and `phis`.

Source: as there. What a file cannot say is not looked for here: the keys are read again and compared (`reading_back`).
"""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedConfig

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.context_length import context_length_of
from tuningfork.modeling.files.gguf.header import Value
from tuningfork.modeling.gguf_export.rotations import rope_parameters, written_rotation

Keys = dict[str, Value]

_ARCHITECTURES = {
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
"""What files call the architecture, by `model_type`."""
WITH_WINDOWS = ("gemma2", "gemma3")
"""The architectures whose windows llama.cpp computes. For the others it attends to all tokens."""
_EVERY = {"gemma2": 2, "gemma3": 6}


def architecture_of(config: PreTrainedConfig) -> str:
    """What files call the architecture.

    Raises:
        BaseUnusable: no file of this kind of model can be written here.

    """
    found = _ARCHITECTURES.get(config.model_type)
    if found is None:
        raise BaseUnusable(
            f"it is a model of the type {config.model_type!r}, and those of the types {', '.join(_ARCHITECTURES)} can "
            "be written"
        )
    return found


def context_of(config: PreTrainedConfig, architecture: str) -> int:
    """The most tokens for which llama.cpp computes what this package does: no more than the windows that it ignores.

    Raises:
        BaseUnusable: the configuration does not say how long texts may be.

    """
    context = context_length_of(config.to_dict())
    if context is None:
        raise BaseUnusable("its configuration does not say how long texts may be (max_position_embeddings)")
    window = getattr(config, "sliding_window", None)
    if architecture in WITH_WINDOWS or not window or not _has_windows(config):
        return context
    return min(context, int(window))


def head_of(config: PreTrainedConfig) -> int:
    """The numbers of a head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rotated_of(config: PreTrainedConfig) -> int:
    """How many numbers of a head are rotated by the position."""
    part = rope_parameters(config).get("partial_rotary_factor")
    return int(head_of(config) * (1.0 if part is None else part))


def model_keys(config: PreTrainedConfig) -> tuple[Keys, dict[str, list[float]]]:
    """All keys of the model itself, and the small tensors that belong to its rotation, by their names.

    Raises:
        BaseUnusable: llama.cpp has no such model.

    """
    architecture = architecture_of(config)
    rotation = written_rotation(config, architecture, rotated=rotated_of(config))
    keys = _sizes(config, architecture) | rotation.keys
    if (add := _ADDED.get(config.model_type)) is not None:
        keys |= add(config)
    return {f"{architecture}.{name}": value for name, value in keys.items()}, rotation.tensors


def _sizes(config: PreTrainedConfig, architecture: str) -> Keys:
    norm = "layer_norm_epsilon" if architecture == "phi2" else "layer_norm_rms_epsilon"
    return {
        "block_count": config.num_hidden_layers,
        "context_length": context_of(config, architecture),
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads or config.num_attention_heads,
        "attention.key_length": head_of(config),
        "attention.value_length": head_of(config),
        f"attention.{norm}": float(config.layer_norm_eps if architecture == "phi2" else config.rms_norm_eps),
        "rope.dimension_count": rotated_of(config),
    }


def _has_windows(config: PreTrainedConfig) -> bool:
    types = getattr(config, "layer_types", None)
    return True if types is None else "sliding_attention" in types


def _window(config: PreTrainedConfig) -> Keys:
    """The window of Mistral and Phi 3, which llama.cpp passes over and our reader does not."""
    return {"attention.sliding_window": config.sliding_window} if config.sliding_window else {}


def _gemma2(config: PreTrainedConfig) -> Keys:
    return _caps(config) | {"attention.sliding_window": config.sliding_window} | _pattern(config, "gemma2")


def _gemma3(config: PreTrainedConfig) -> Keys:
    if not _has_windows(config):
        return _caps(config)
    theta = config.rope_parameters["sliding_attention"]["rope_theta"]
    windows: Keys = {"attention.sliding_window": config.sliding_window, "rope.freq_base_swa": float(theta)}
    return _caps(config) | windows | _pattern(config, "gemma3")


def _caps(config: PreTrainedConfig) -> Keys:
    names = ("attn_logit_softcapping", "final_logit_softcapping")
    given = {name: getattr(config, name, None) for name in names}
    if given[names[0]] and config.model_type == "gemma3_text":
        raise BaseUnusable("its scores have a cap (attn_logit_softcapping), which llama.cpp does not have for gemma3")
    return {name: float(value) for name, value in given.items() if value}


def _pattern(config: PreTrainedConfig, architecture: str) -> Keys:
    """Which layers have windows, if it is not what older versions of llama.cpp take for granted."""
    every = _EVERY[architecture]
    windows = [kind == "sliding_attention" for kind in config.layer_types]
    if windows == [(layer + 1) % every != 0 for layer in range(len(windows))]:
        return {}
    return {"attention.sliding_window_pattern": windows}


_ADDED: dict[str, Callable[[Any], Keys]] = {
    "mistral": _window,
    "phi3": _window,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
}
