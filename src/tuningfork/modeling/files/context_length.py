"""Reads a model's context length from its configuration. Does not import torch: the catalog uses it before loading."""

from collections.abc import Mapping
from typing import Any

_CHANGING = {"longrope", "su"}
"""The names of LongRoPE in configurations; "su" is the older name."""


def context_length_of(config: Mapping[str, Any]) -> int | None:
    """The most tokens of prompt and answer together; None: the configuration (`config.json`) does not say.

    With LongRoPE (Ding et al. 2024) the pretraining length is the limit, since a longer text has other rotations at
    every position. All texts of a packed row share one rotary table, and cached keys keep their rotation: beyond the
    limit an answer would depend on the other requests in the batch.
    """
    text: Mapping[str, Any] = config.get("text_config") or config
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    lengths = [text.get("max_position_embeddings")]
    for each in (rope, *(part for part in rope.values() if isinstance(part, Mapping))):
        if each.get("rope_type", each.get("type")) in _CHANGING:
            lengths += [each.get("original_max_position_embeddings"), text.get("original_max_position_embeddings")]
    return min((length for length in lengths if length), default=None)
