"""Converts a response schema, which is a Schema message of the API, to the JSON Schema that answers must match.

Source: gemini-api section 11.1; google/ai/generativelanguage/v1beta/content.proto (Schema), whose comments say which
members each type may have. Differences from JSON Schema: an object has no keys except its properties, which come in the
order of `propertyOrdering` and then as they were sent, and null is allowed only by `nullable`. Of the members that only
describe, descriptions are kept, since the model reads them; title, example and default have no effect.
"""

from collections.abc import Iterator
from typing import Any

from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.proto_json.decode import Fields

_ONLY_FOR = {
    "enum": ("STRING",),
    "min_length": ("STRING",),
    "max_length": ("STRING",),
    "pattern": ("STRING",),
    "format": ("STRING", "NUMBER", "INTEGER"),
    "minimum": ("INTEGER", "NUMBER"),
    "maximum": ("INTEGER", "NUMBER"),
    "items": ("ARRAY",),
    "min_items": ("ARRAY",),
    "max_items": ("ARRAY",),
    "properties": ("OBJECT",),
    "required": ("OBJECT",),
    "property_ordering": ("OBJECT",),
    "min_properties": ("OBJECT",),
    "max_properties": ("OBJECT",),
}
"""The types that may have each member."""

_FORMATS = {
    "STRING": (
        "enum",
        "date-time",
        "date",
        "time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
        "uri",
    ),
    "NUMBER": ("float", "double"),
    "INTEGER": ("int32", "int64"),
}
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    # Bounds are doubles; these are the outermost doubles that fit into an int64.
    "int64": (-(2**63) + 1024, 2**63 - 1024),
}

_COUNTS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}
_PLAIN = _COUNTS | {"pattern": "pattern", "required": "required", "description": "description"}
"""Members that mean the same in JSON Schema. A member with its default value (0, "", []) is ignored."""


def violations_of(schema: Fields, where: str) -> Iterator[FieldViolation]:
    """Everything wrong with a Schema and the Schemas in it.

    Args:
        schema: the decoded Schema.
        where: its path, for error messages.

    """
    kind = _type_of(schema)
    if kind is None and not schema.get("any_of"):
        yield FieldViolation(field=f"{where}.type", description="must be specified")
    elif schema.get("any_of"):
        yield from _of_any(schema, where)
    for member, kinds in _ONLY_FOR.items():
        if kind not in (None, *kinds) and _says(schema, member):
            described = f"only allowed for {' and '.join(kinds)} type"
            yield FieldViolation(field=f"{where}.{member}", description=described)
    yield from _of_values(schema, kind, where)
    if kind == "OBJECT":
        yield from _of_names(schema, where)
    for path, inner in _inner(schema, where):
        yield from violations_of(inner, path)


def json_schema_of(schema: Fields) -> dict[str, Any]:
    """The JSON Schema of a Schema without violations."""
    found: dict[str, Any] = {}
    kind = _type_of(schema)
    if schema.get("any_of"):
        found["anyOf"] = [json_schema_of(each) for each in schema["any_of"]]
        if schema.get("nullable"):
            found["anyOf"].append({"type": "null"})
    if kind is not None:
        found["type"] = [kind.lower(), "null"] if schema.get("nullable") else kind.lower()
    if schema.get("enum"):
        found["enum"] = [*schema["enum"], None] if schema.get("nullable") else list(schema["enum"])
    found |= {name: schema[member] for member, name in _PLAIN.items() if schema.get(member)}
    found |= _range(schema)
    if schema.get("format") in set(_FORMATS["STRING"]) - {"enum"}:
        found["format"] = schema["format"]
    if schema.get("items"):
        found["items"] = json_schema_of(schema["items"])
    if schema.get("properties"):
        order = dict.fromkeys([*schema.get("property_ordering", ()), *schema["properties"]])
        found["properties"] = {name: json_schema_of(schema["properties"][name]) for name in order}
        found["additionalProperties"] = False
    return found


def _type_of(schema: Fields) -> str | None:
    kind = schema.get("type", "TYPE_UNSPECIFIED")
    return None if kind == "TYPE_UNSPECIFIED" else str(kind)


def _says(schema: Fields, member: str) -> bool:
    return schema.get(member) not in (None, 0, "", [], {}) or (member in ("minimum", "maximum") and member in schema)


def _of_any(schema: Fields, where: str) -> Iterator[FieldViolation]:
    beside = [member for member in _ONLY_FOR if _says(schema, member)]
    if beside:
        described = f"cannot stand beside {', '.join(beside)}; say that in each of its schemas"
        yield FieldViolation(field=f"{where}.any_of", description=described)


def _of_values(schema: Fields, kind: str | None, where: str) -> Iterator[FieldViolation]:
    for index, value in enumerate(schema.get("enum", ())):
        if not value:
            yield FieldViolation(field=f"{where}.enum[{index}]", description="cannot be empty")
    wanted = _FORMATS.get(kind or "", ())
    if wanted and schema.get("format") and schema["format"] not in wanted:
        described = f"only {', '.join(map(repr, wanted))} are supported for {kind} type"
        yield FieldViolation(field=f"{where}.format", description=described)
    if kind == "ARRAY" and "items" not in schema:
        yield FieldViolation(field=f"{where}.items", description="missing field.")
    for member in _COUNTS:
        if schema.get(member, 0) < 0:
            yield FieldViolation(field=f"{where}.{member}", description="must not be negative")


def _of_names(schema: Fields, where: str) -> Iterator[FieldViolation]:
    for member in ("required", "property_ordering"):
        for index, name in enumerate(schema.get(member, ())):
            if name not in schema.get("properties", {}):
                yield FieldViolation(field=f"{where}.{member}[{index}]", description="property is not defined")


def _inner(schema: Fields, where: str) -> Iterator[tuple[str, Fields]]:
    if "items" in schema:
        yield f"{where}.items", schema["items"]
    for name, inner in schema.get("properties", {}).items():
        yield f"{where}.properties[{name}]", inner
    for index, inner in enumerate(schema.get("any_of", ())):
        yield f"{where}.any_of[{index}]", inner


def _range(schema: Fields) -> dict[str, float]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if schema.get("format") in _RANGES:
        lowest, highest = _RANGES[schema["format"]]
        least = lowest if least is None else max(least, lowest)
        most = highest if most is None else min(most, highest)
    return {name: bound for name, bound in (("minimum", least), ("maximum", most)) if bound is not None}
