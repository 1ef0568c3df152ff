"""What a request for text may ask of this server: members that would change the answer are refused by name.

Those that change nothing in a text-only server without safety filters (safety settings, speech, images, media
resolution, thinking budgets) are read and passed over.
"""

from collections.abc import Iterator

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.proto_json.decode import Fields

_TEXT = "text/plain"
_JSON = "application/json"


def refuse_unserved(request: Fields, name: str) -> None:
    """Pass a request that can be served in full.

    Raises:
        InvalidArgument: naming every member that cannot; for JSON mode in the words of the real service.

    """
    config: Fields = request.get("generation_config", {})
    if config.get("response_mime_type") == _JSON:
        raise InvalidArgument(f"JSON mode is not enabled for {name}")
    found = tuple(
        FieldViolation(field=field, description=description)
        for field, description in (*_unserved_members(request), *_unserved_config(config))
    )
    if found:
        raise InvalidArgument.of("GenerateContentRequest", found)


def _unserved_members(request: Fields) -> Iterator[tuple[str, str]]:
    if request.get("tools"):
        yield "tools", "this server calls no tools; leave them out"
    if request.get("cached_content"):
        yield "cached_content", "this server keeps no cached contents; send them in contents"


def _unserved_config(config: Fields) -> Iterator[tuple[str, str]]:
    mime_type = config.get("response_mime_type", "")
    if mime_type not in ("", _TEXT):
        yield _named("response_mime_type", f"must be {_TEXT}; {mime_type[:80]!r} is not served")
    for schema in ("response_schema", "response_json_schema", "response_json_schema_ordered"):
        if config.get(schema):
            yield _named(schema, "is not served: answers are free text; leave it out")
    for penalty in ("presence_penalty", "frequency_penalty"):
        if config.get(penalty):
            yield _named(penalty, "is not served; leave it out or send 0")
    for logprobs in ("response_logprobs", "logprobs"):
        if config.get(logprobs):
            yield _named(logprobs, "is not served; leave it out")
    others = set(config.get("response_modalities", ())) - {"TEXT", "MODALITY_UNSPECIFIED"}
    if others:
        yield _named("response_modalities", f"can only be TEXT; {', '.join(sorted(others))} was asked for")


def _named(field: str, reason: str) -> tuple[str, str]:
    return f"generation_config.{field}", f"{field} {reason}"
