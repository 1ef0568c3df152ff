"""The rotation of positions as keys and tensors of a GGUF file: the way back from `files/gguf/rotations`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedConfig

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import Value
from tuningfork.modeling.files.gguf.rotations import llama_3_factors

_YARN = {"beta_fast": 32.0, "beta_slow": 1.0}
"""llama.cpp has these for every family here, whatever a file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRotation:
    """Keys, without the architecture before them, and small tensors in float32."""

    keys: dict[str, Value] = field(default_factory=dict)
    tensors: dict[str, list[float]] = field(default_factory=dict)


def rope_parameters(config: PreTrainedConfig) -> Mapping[str, Any]:
    """The rotation of the layers without a window, if those with one have their own; else the only one."""
    rope: Mapping[str, Any] = config.rope_parameters
    found: Mapping[str, Any] = rope.get("full_attention", rope)
    return found


def written_rotation(config: PreTrainedConfig, architecture: str, *, rotated: int) -> WrittenRotation:
    """How a file says this rotation, of which `rotated` numbers of a head are a part.

    Raises:
        BaseUnusable: llama.cpp does not have it for this architecture.

    """
    rope = rope_parameters(config)
    keys: dict[str, Value] = {"rope.freq_base": float(rope["rope_theta"])}
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return WrittenRotation(keys=keys)
    if kind == "linear":
        scaling: dict[str, Value] = {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
        return WrittenRotation(keys=keys | scaling)
    if kind == "yarn":
        return WrittenRotation(keys=keys | _yarn(config, rope))
    if kind == "longrope" and architecture == "phi3":
        return _longrope(config, rope, keys)
    # Of the families here, llama.cpp reads a factor for each pair of numbers for Llama's only.
    if architecture == "llama" and (factors := _factors(rope, rotated)):
        return WrittenRotation(keys=keys, tensors={"rope_freqs.weight": factors})
    raise BaseUnusable(
        f"its positions are rotated by {kind!r} with these parameters, which llama.cpp does not have for {architecture}"
    )


def _yarn(config: PreTrainedConfig, rope: Mapping[str, Any]) -> dict[str, Value]:
    for name, value in _YARN.items():
        if rope.get(name) not in (None, value):
            raise BaseUnusable(f"its YaRN has {name} = {rope[name]}, and llama.cpp always takes {value:g}")
    trained = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": float(rope["factor"]),
        "rope.scaling.original_context_length": int(trained),
    }


def _longrope(config: PreTrainedConfig, rope: Mapping[str, Any], keys: dict[str, Value]) -> WrittenRotation:
    # Imported late: as all of transformers' modelling.
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: PLC0415

    _, scale = ROPE_INIT_FUNCTIONS["longrope"](config, "cpu")
    trained = rope.get("original_max_position_embeddings") or config.original_max_position_embeddings
    return WrittenRotation(
        keys=keys | {"rope.scaling.attn_factor": float(scale), "rope.scaling.original_context_length": int(trained)},
        tensors={f"rope_factors_{which}.weight": [*map(float, rope[f"{which}_factor"])] for which in ("short", "long")},
    )


def _factors(rope: Mapping[str, Any], rotated: int) -> list[float] | None:
    """By how much the frequency of each pair of numbers is divided; None: it depends on more than the pair."""
    if rope["rope_type"] == "llama3":
        return llama_3_factors(rope, rotated)
    same = rope["rope_type"] == "longrope" and rope["short_factor"] == rope["long_factor"]
    return [*map(float, rope["short_factor"])] if same and rope.get("attention_factor") == 1.0 else None
