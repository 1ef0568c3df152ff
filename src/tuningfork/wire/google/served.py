"""Finds fields of a request for text that this server does not support and that would change the answer.

Fields that have no effect in a text-only server without tools (tool settings, speech, images, media resolution) are
ignored.
"""

from collections.abc import Iterator

from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.proto_json.decode import Fields


def unserved_members(request: Fields) -> Iterator[FieldViolation]:
    """Every field of a decoded GenerateContentRequest, and of its config, that cannot be served."""
    if request.get("tools"):
        yield FieldViolation(field="tools", description="this server calls no tools; leave them out")
    if request.get("cached_content"):
        reason = "this server keeps no cached contents; send them in contents"
        yield FieldViolation(field="cached_content", description=reason)
    yield from _unserved_settings(request.get("generation_config", {}))


def _unserved_settings(config: Fields) -> Iterator[FieldViolation]:
    others = set(config.get("response_modalities", ())) - {"TEXT", "MODALITY_UNSPECIFIED"}
    if others:
        reason = f"response_modalities can only be TEXT; {', '.join(sorted(others))} was asked for"
        yield FieldViolation(field="generation_config.response_modalities", description=reason)
    budget = config.get("thinking_config", {}).get("thinking_budget", 0)
    if budget > 0:
        reason = f"models of this server answer without thinking; leave it out or send 0 instead of {budget}"
        yield FieldViolation(field="generation_config.thinking_config.thinking_budget", description=reason)
