"""The configuration of an adapter in PEFT's format: its shape, and options that would make it another kind of adapter.

Source: `peft.LoraConfig`, PEFT 0.18 to 0.21.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tuningfork.domain.base_model import MAX_ADAPTER_RANK, AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.peft import CONFIG

MOST_CONFIG_BYTES = 2**20
MOST_ALPHA = 1e6

_PLAIN: Mapping[str, Any] = {
    "use_dora": False,
    "fan_in_fan_out": False,
    "bias": "none",
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "lora_bias": False,
    "trainable_token_indices": None,
    "target_parameters": None,
    "layer_replication": None,
    "alora_invocation_tokens": None,
    "loftq_config": {},
}
"""Options that change what an adapter computes, with the values that serving supports. Nothing and false count too."""

_WITHOUT_EFFECT = {
    *(
        "peft_type",
        "task_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
    ),
    *("r", "lora_alpha", "use_rslora", "lora_dropout", "init_lora_weights", "runtime_config", "ensure_weight_tying"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "eva_config"),
    # Only read together with options that are refused.
    *("megatron_core", "qalora_group_size"),
}
"""Options that change nothing about what the stored matrices compute, or that are read here."""

_CHANGING_THE_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
"""Beginnings of the values of `init_lora_weights` with which training also changed the weights of the base."""

_KEPT = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "base_model_name_or_path")
"""Each is nothing, a text, a whole number, or a list of texts and whole numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftConfig:
    """A configuration that was checked. `kept` are the fields that say which layers and which base it is for."""

    shape: AdapterShape
    kept: Mapping[str, Any]


def parse_config(data: bytes) -> PeftConfig:
    """Read a configuration.

    With `use_rslora` the scale is alpha / sqrt(r) (Kalajdzievski 2023); the shape's alpha is such that alpha / r is
    the same.

    Raises:
        InvalidArgument: it is none, or its options make an adapter that cannot be served; the message names them.

    """
    config = _read(data)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise InvalidArgument(f"{CONFIG} has peft_type {_shown(kind)}; only adapters of the type LORA can be imported")
    if found := [*_refused(config)]:
        raise InvalidArgument(
            f"{CONFIG} has {', '.join(found)}, which cannot be served: only plain LoRA on linear layers can, with "
            "rsLoRA or without; merge the adapter into its base and serve that as a base of its own"
        )
    rank, alpha = _number(config, "r"), _number(config, "lora_alpha")
    if not (isinstance(rank, int) and 1 <= rank <= MAX_ADAPTER_RANK):
        raise InvalidArgument(f"{CONFIG} has r {_shown(rank)}; it must be a whole number from 1 to {MAX_ADAPTER_RANK}")
    if not 0 < alpha <= MOST_ALPHA:
        raise InvalidArgument(
            f"{CONFIG} has lora_alpha {_shown(alpha)}; it must be above 0 and at most {MOST_ALPHA:,.0f}"
        )
    scaled = alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
    return PeftConfig(
        shape=AdapterShape(rank=rank, alpha=float(scaled)),
        kept={name: _flat(config, name) for name in _KEPT if name in config},
    )


def render_config(config: PeftConfig) -> bytes:
    """The configuration as every reader of the format takes it: plain LoRA, with what was kept."""
    alpha = config.shape.alpha
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "r": config.shape.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": 0.0,
        "init_lora_weights": True,
        "use_rslora": False,
        **{name: value for name, value in _PLAIN.items() if name not in {"loftq_config", "alora_invocation_tokens"}},
        **config.kept,
    }
    # One line for each field: with an indented line for each element, a list would become several times as long.
    lines = (
        f"  {json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in sorted(fields.items())
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _read(data: bytes) -> Mapping[str, Any]:
    if len(data) > MOST_CONFIG_BYTES:
        raise InvalidArgument(f"{CONFIG} has more than {MOST_CONFIG_BYTES:,} bytes, as no configuration has")
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InvalidArgument(f"{CONFIG} is no JSON object")
    return config


def _refused(config: Mapping[str, Any]) -> Iterator[str]:
    """Each option that cannot be served, with its value."""
    for name, value in sorted(config.items()):
        if name in _WITHOUT_EFFECT or not value or value == _PLAIN.get(name):
            continue
        # Of an option that is not known here, nobody can say what it changes.
        yield f"{name}={_shown(value)}"
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGING_THE_BASE):
        yield f"init_lora_weights={_shown(start)} (its base was changed in training)"


def _flat(config: Mapping[str, Any], name: str) -> Any:
    value = config[name]
    for each in value if isinstance(value, list) else () if value is None else (value,):
        if not (isinstance(each, str) or _is_whole(each)):
            raise InvalidArgument(
                f"{CONFIG} has {name} {_shown(value)}; it must be a text, a whole number, or a list of them"
            )
    return value


def _number(config: Mapping[str, Any], name: str) -> int | float:
    value = config.get(name)
    # Of a whole number that no float can hold, `isfinite` would raise an error.
    if _is_whole(value) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InvalidArgument(f"{CONFIG} has {name} {_shown(value)}, which is no number")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=True, default=str)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."
