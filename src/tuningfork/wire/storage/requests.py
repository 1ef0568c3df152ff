"""What requests of storage/v1 say: their JSON, their parameters and headers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from tuningfork.buckets.listing import Wanted
from tuningfork.buckets.metadata import Properties
from tuningfork.buckets.objects import Conditions
from tuningfork.buckets.uploads import Upload
from tuningfork.domain.errors import FieldViolation, InvalidArgument

MOST_RESULTS = 1000

_TEXTS = {
    "contentType": "content_type",
    "contentEncoding": "content_encoding",
    "contentDisposition": "content_disposition",
    "contentLanguage": "content_language",
    "cacheControl": "cache_control",
}
_MOST_TEXT_CHARACTERS = 1024
_MOST_CUSTOM_CHARACTERS = 8 * 1024
_MOST_DIGITS = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """What the JSON of an upload says. "": nothing was said."""

    name: str = ""
    properties: Properties = Properties()
    crc32c: str = ""
    md5: str = ""


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; an empty body is an empty one.

    Raises:
        InvalidArgument: it is none.

    """
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("The body is not valid JSON.") from error
    if not isinstance(found, dict):
        raise InvalidArgument("The body must be a JSON object.")
    return found


def parse_new_object(body: bytes) -> NewObject:
    """The JSON of an upload. Fields that this server does not keep are passed over.

    Raises:
        InvalidArgument: a field has a value of another type.

    """
    found = parse_json(body)
    return NewObject(
        name=_text(found, "name"),
        properties=_changed(Properties(), found),
        crc32c=_text(found, "crc32c"),
        md5=_text(found, "md5Hash"),
    )


def parse_change(body: bytes) -> Callable[[Properties], Properties]:
    """The JSON of a patch, as what it does to the properties: null removes a value.

    Raises:
        InvalidArgument: a field has a value of another type.

    """
    found = parse_json(body)
    _changed(Properties(), found)
    return lambda properties: _changed(properties, found)


def parse_bucket_name(body: bytes) -> str:
    """The name in the JSON of a new bucket.

    Raises:
        InvalidArgument: it has none.

    """
    name = _text(parse_json(body), "name")
    if not name:
        raise _refused("name", "Required: a bucket has a name")
    return name


def parse_conditions(query: Mapping[str, str], *, prefix: str = "if") -> Conditions:
    """The conditions on generations in the query.

    Raises:
        InvalidArgument: one is no number.

    """
    return Conditions(
        generation=_number(query, f"{prefix}GenerationMatch"),
        generation_not=_number(query, f"{prefix}GenerationNotMatch"),
        metageneration=_number(query, f"{prefix}MetagenerationMatch"),
        metageneration_not=_number(query, f"{prefix}MetagenerationNotMatch"),
    )


def parse_generation(query: Mapping[str, str], name: str = "generation") -> int:
    """The wanted generation, which the parameter of this name gives; 0: whatever is there.

    Raises:
        InvalidArgument: it is no number.

    """
    return _number(query, name) or 0


def parse_change_conditions(query: Mapping[str, str]) -> Conditions:
    """Which object a request changes or removes, and the conditions on it.

    Raises:
        InvalidArgument: a parameter is no number.

    """
    return replace(parse_conditions(query), of_generation=parse_generation(query))


def parse_source_conditions(query: Mapping[str, str]) -> Conditions:
    """Which object a request copies, and the conditions on it.

    Raises:
        InvalidArgument: a parameter is no number.

    """
    of_generation = parse_generation(query, "sourceGeneration")
    return replace(parse_conditions(query, prefix="ifSource"), of_generation=of_generation)


def parse_list(query: Mapping[str, str]) -> Wanted:
    """Which objects are listed.

    Raises:
        InvalidArgument: a parameter cannot be read.

    """
    most = _number(query, "maxResults")
    if most == 0:
        raise _refused("maxResults", "must be at least 1")
    return Wanted(
        prefix=_readable(query, "prefix"),
        delimiter=_readable(query, "delimiter"),
        start=_readable(query, "startOffset"),
        end=_readable(query, "endOffset"),
        after=_readable(query, "pageToken"),
        most=min(most or MOST_RESULTS, MOST_RESULTS),
    )


def parse_upload(
    bucket: str, owner: str, query: Mapping[str, str], headers: Mapping[str, str], described: NewObject
) -> Upload:
    """What an upload is to become: its JSON, its parameters, and the headers that announce the content.

    Raises:
        InvalidArgument: it has no name, two names, or something that cannot be read.

    """
    name = query.get("name") or described.name
    if not name:
        raise _refused("name", "Required: an object has a name")
    if described.name and described.name != name:
        raise _refused("name", f"is {described.name[:100]!r} in the body and {name[:100]!r} in the query")
    announced = _hashes(headers.get("x-goog-hash", ""))
    properties = described.properties
    if not properties.content_type:
        properties = replace(properties, content_type=headers.get("x-upload-content-type", "")[:_MOST_TEXT_CHARACTERS])
    return Upload(
        bucket=bucket,
        key=name,
        owner=owner,
        properties=properties,
        conditions=parse_conditions(query),
        size=_number(headers, "x-upload-content-length"),
        crc32c=described.crc32c or announced.get("crc32c", ""),
        md5=described.md5 or announced.get("md5", ""),
    )


def parse_segment(encoded: str) -> str:
    """One part of a path, percent-decoded.

    Raises:
        InvalidArgument: it is not UTF-8.

    """
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"The path has {encoded[:100]!r}, which is not UTF-8.") from error


def _changed(properties: Properties, found: Mapping[str, Any]) -> Properties:
    texts = {ours: _text(found, theirs) for theirs, ours in _TEXTS.items() if theirs in found}
    changed = replace(properties, **texts)  # type: ignore[arg-type]
    if "metadata" not in found:
        return changed
    return replace(changed, custom=_custom(properties.custom, found["metadata"]))


def _custom(before: Mapping[str, str], wanted: object) -> Mapping[str, str]:
    if wanted is None:
        return {}
    if not isinstance(wanted, dict) or not all(isinstance(value, str | None) for value in wanted.values()):
        raise _refused("metadata", "must be an object of texts")
    after = {**before, **wanted}
    kept = {name: value for name, value in after.items() if value is not None}
    if sum(len(name) + len(value) for name, value in kept.items()) > _MOST_CUSTOM_CHARACTERS:
        raise _refused("metadata", f"has more than {_MOST_CUSTOM_CHARACTERS} characters")
    for text in (*kept, *kept.values()):
        _check_readable("metadata", text)
    return kept


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _refused(name, "must be a text")
    if len(value) > _MOST_TEXT_CHARACTERS:
        raise _refused(name, f"has more than {_MOST_TEXT_CHARACTERS} characters")
    if name != "name" and not value.isprintable():
        raise _refused(name, "must not have control characters")
    return _check_readable(name, value)


def _readable(query: Mapping[str, str], name: str) -> str:
    return _check_readable(name, query.get(name, ""))


def _check_readable(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _refused(name, "must be valid Unicode") from error
    return value


def _number(values: Mapping[str, str], name: str) -> int | None:
    value = values.get(name)
    if value is None or value == "":
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS):
        raise _refused(name, f"must be a number; {value[:50]!r} was given")
    return int(value)


def _hashes(header: str) -> dict[str, str]:
    """Those of `X-Goog-Hash: crc32c=...,md5=...`."""
    found = (each.strip().partition("=") for each in header.split(","))
    return {name: value for name, _, value in found if name in ("crc32c", "md5")}


def _refused(name: str, reason: str) -> InvalidArgument:
    violation = FieldViolation(field=name, description=reason)
    return InvalidArgument(f"Invalid argument: {name} {reason}.", violations=(violation,))
