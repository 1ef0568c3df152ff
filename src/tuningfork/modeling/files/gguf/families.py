"""The families of models whose GGUF files can be converted, by the architecture that a file names."""

from collections.abc import Callable
from typing import Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.gemmas import gemma, gemma2, gemma3
from tuningfork.modeling.files.gguf.llamas import llama, qwen2, qwen3, smollm3
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.phis import phi2, phi3
from tuningfork.modeling.files.gguf.plan import Plan

Config = dict[str, Any]

_FAMILIES: dict[str, Callable[[Metadata, Plan], Config]] = {
    "llama": llama,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "smollm3": smollm3,
    "phi2": phi2,
    "phi3": phi3,
}


def configuration_of(metadata: Metadata, plan: Plan) -> Config:
    """The model's configuration for transformers, without its tokens; the plan gets all of the model's tensors.

    Raises:
        BaseUnusable: the architecture is not known, or the file has something that it does not have here.

    """
    family = _FAMILIES.get(metadata.architecture)
    if family is None:
        raise BaseUnusable(
            f"it is a model of the architecture {metadata.architecture!r}, and those of "
            f"{', '.join(_FAMILIES)} can be converted; give the model's directory of safetensors files instead"
        )
    config = family(metadata, plan)
    plan.refuse_others()
    return config
