"""The rotation of positions that a GGUF file describes, as transformers' `rope_parameters`.

llama.cpp divides the frequency of each pair of numbers by a factor: one for all (linear), one for each pair (the tensor
`rope_freqs.weight`, where its converter puts Llama 3's scaling), or by YaRN's rule.

Source: `llama_model_base::load_hparams` and `llama_context` of llama.cpp; `modeling_rope_utils.py` of transformers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Plan
from tuningfork.modeling.files.gguf.values import read_numbers

Rope = dict[str, Any]

_LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Llama 3.1's and 3.2's; only the factor differs between the models (8 and 32)."""
_NEAR = 1e-4


def rope_of(metadata: Metadata, plan: Plan, *, dimensions: int, context: int) -> Rope:
    """The rotation of the layers, of which `dimensions` numbers of a head are rotated.

    Raises:
        BaseUnusable: it is scaled in a way that transformers does not have.

    """
    key = metadata.of_model
    base = metadata.real(key("rope.freq_base"), 10_000.0)
    # Says only that a model was trained further with its scaling.
    metadata.get(key("rope.scaling.finetuned"))
    # Means something for YaRN only, which asks for it.
    metadata.get(key("rope.scaling.original_context_length"))
    kind = metadata.text(key("rope.scaling.type"), "linear")
    factor = _factor(metadata)
    if plan.has("rope_freqs.weight"):
        if factor != 1.0 or kind not in ("none", "linear"):
            raise BaseUnusable(f"it scales its rotations twice, by rope_freqs.weight and by a factor ({kind})")
        factors = read_numbers(plan.take("rope_freqs.weight", (dimensions // 2,)), plan.file)
        return by_factors(factors, base=base, dimensions=dimensions, context=context)
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return {"rope_type": "default", "rope_theta": base}
    if kind == "linear":
        return {"rope_type": "linear", "rope_theta": base, "factor": factor}
    if kind == "yarn":
        return _yarn(metadata, base=base, factor=factor)
    raise BaseUnusable(f"it scales its rotations by {kind!r}, which is not known for {metadata.architecture}")


def by_factors(factors: Sequence[float], *, base: float, dimensions: int, context: int) -> Rope:
    """The rotation with a factor for each pair of numbers: Llama 3's if the factors are its, else the general form.

    The general form is LongRoPE with the same factors for short and for long texts, and without its scaling of scores.
    """
    if not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise BaseUnusable("its rope_freqs.weight has numbers that are not positive")
    llama_3 = {"rope_type": "llama3", "rope_theta": base, "factor": round(max(factors), 4), **_LLAMA_3}
    expected = llama_3_factors(llama_3, dimensions)
    if all(math.isclose(one, other, rel_tol=_NEAR) for one, other in zip(factors, expected, strict=True)):
        return llama_3
    each = list(factors)
    return {
        "rope_type": "longrope",
        "rope_theta": base,
        "short_factor": each,
        "long_factor": each,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": context,
    }


def llama_3_factors(rope: Mapping[str, Any], dimensions: int) -> list[float]:
    """Llama 3's factor for each pair of numbers, as llama.cpp's converter computes it."""
    low, high, trained = (float(rope[name]) for name in _LLAMA_3)
    factors = []
    for index in range(0, dimensions, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (index / dimensions)
        smooth = min(1.0, max(0.0, (trained / wave - low) / (high - low)))
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


def _factor(metadata: Metadata) -> float:
    names = ("rope.scaling.factor", "rope.scale_linear")
    given = [metadata.real(key) for key in map(metadata.of_model, names) if metadata.get(key) not in (None, 0.0)]
    return given[0] if given else 1.0


def _yarn(metadata: Metadata, *, base: float, factor: float) -> Rope:
    key = metadata.of_model
    for name in ("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_ext_factor"):
        if metadata.real(key(name), 1.0) != 1.0:
            raise BaseUnusable(f"it has YaRN with {key(name)!r}, whose meaning differs between programs")
    return {
        "rope_type": "yarn",
        "rope_theta": base,
        "factor": factor,
        "original_max_position_embeddings": metadata.count(key("rope.scaling.original_context_length")),
        "beta_fast": metadata.real(key("rope.scaling.yarn_beta_fast"), 32.0),
        "beta_slow": metadata.real(key("rope.scaling.yarn_beta_slow"), 1.0),
    }
