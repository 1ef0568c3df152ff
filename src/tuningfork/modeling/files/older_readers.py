"""Writes configurations that transformers 4 reads as transformers 5 does.

Transformers 5 writes the rotation of positions as `rope_parameters`, which transformers 4 passes over: it then computes
other rotations without a word. And it names tokenizer classes, and lists special tokens in a form, that transformers 4
refuses. Transformers 5 reads both forms, so the older one is added, or takes the place of the newer one.

Source: `RotaryEmbeddingConfigMixin.convert_rope_params_to_dict` and `PreTrainedTokenizerBase` of transformers 5.24;
`modeling_rope_utils.py` and the configurations of transformers 4.57.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_ROPE, _FULL, _SLIDING = "rope_parameters", "full_attention", "sliding_attention"
_NEW_CLASSES = {"TokenizersBackend"}
_OLD_CLASS = "PreTrainedTokenizerFast"
_LONG_ROPE_KEYS = {"type", "short_factor", "long_factor"}
"""The only keys that transformers 4 accepts in Phi-3's `rope_scaling`."""


def add_older_forms(directory: Path) -> None:
    """Change `config.json` and `tokenizer_config.json` of a model's directory so that transformers 4 can read them."""
    _rewrite(directory / "config.json", with_older_rotations)
    if (directory / "tokenizer.json").is_file():
        _rewrite(directory / "tokenizer_config.json", with_older_tokenizer)


def with_older_rotations(config: Mapping[str, Any]) -> Json:
    """The configuration, with the rotation of positions also as transformers 4 reads it, in nested ones too."""
    changed = {
        name: with_older_rotations(value) if isinstance(value, dict) else value for name, value in config.items()
    }
    parameters = config.get(_ROPE)
    if not isinstance(parameters, dict):
        return changed
    changed[_ROPE] = parameters
    if isinstance(parameters.get(_FULL), dict) and isinstance(parameters.get(_SLIDING), dict):
        local = parameters[_SLIDING].get("rope_theta")
        added = _older(parameters[_FULL], config) | ({} if local is None else {"rope_local_base_freq": local})
    else:
        added = _older(parameters, config)
    # What the configuration says already in the older form stays.
    return changed | {name: value for name, value in added.items() if config.get(name) is None}


def with_older_tokenizer(config: Mapping[str, Any]) -> Json:
    """The tokenizer's configuration with class and special tokens as transformers 4 reads them."""
    changed = dict(config)
    if changed.get("tokenizer_class") in _NEW_CLASSES:
        changed["tokenizer_class"] = _OLD_CLASS
    if isinstance(changed.get("extra_special_tokens"), list):
        changed.setdefault("additional_special_tokens", changed["extra_special_tokens"])
        del changed["extra_special_tokens"]
    return changed


def _older(parameters: Mapping[str, Any], config: Mapping[str, Any]) -> Json:
    kind = parameters.get("rope_type", "default")
    added: Json = {name: parameters[name] for name in ("rope_theta", "partial_rotary_factor") if name in parameters}
    if kind == "default":
        return added
    scaling = {name: value for name, value in parameters.items() if name not in added}
    if config.get("model_type") == "phi3":
        if (trained := scaling.get("original_max_position_embeddings")) is not None:
            added["original_max_position_embeddings"] = trained
        scaling = {name: value for name, value in (scaling | {"type": kind}).items() if name in _LONG_ROPE_KEYS}
    return added | {"rope_scaling": scaling}


def _rewrite(path: Path, change: Callable[[Mapping[str, Any]], Json]) -> None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(config, dict) and (changed := change(config)) != config:
        path.write_text(json.dumps(changed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
