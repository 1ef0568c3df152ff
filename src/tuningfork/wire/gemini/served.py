"""What a request for text may ask of this server: members that would change the answer are refused by name.

Those that change nothing in a text-only server that calls no tools (tool settings, speech, images, media resolution)
are read and passed over.
"""

from collections.abc import Iterator

from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.proto_json.decode import Fields


def unserved_members(request: Fields) -> Iterator[FieldViolation]:
    """Every member of a decoded GenerateContentRequest that cannot be served, its config's included."""
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
