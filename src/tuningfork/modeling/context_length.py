"""How long a text a model takes, by its configuration alone. Free of torch: the catalog asks before all loading."""

from collections.abc import Mapping
from typing import Any

_CHANGING = {"longrope", "su"}
"""Names of LongRoPE in configurations, the second being its first one."""


def context_length_of(config: Mapping[str, Any]) -> int | None:
    """The most tokens of a text, prompt and answer together; None: the configuration (`config.json`) does not say.

    LongRoPE (Ding et al. 2024) turns every position otherwise once a text outgrows the length of the pretraining, so
    there that length is the limit. All texts of a packed row are turned by one table, and the keys of a growing text
    are kept: beyond the limit an answer would depend on who is served beside it.
    """
    text: Mapping[str, Any] = config.get("text_config") or config
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    lengths = [text.get("max_position_embeddings")]
    for each in (rope, *(part for part in rope.values() if isinstance(part, Mapping))):
        if each.get("rope_type", each.get("type")) in _CHANGING:
            lengths += [each.get("original_max_position_embeddings"), text.get("original_max_position_embeddings")]
    return min((length for length in lengths if length), default=None)
