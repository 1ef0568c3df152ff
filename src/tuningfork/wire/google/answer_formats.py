"""The format that a request wants its answer in: `responseMimeType`, and the three ways to give a schema.

Source: gemini-api section 11.1. `_responseJsonSchema` and `responseJsonSchema` are two names of the same field.
"""

import json
from typing import Any

from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import AnswerFormat, ChoiceAnswer, JsonAnswer
from tuningfork.wire.google.proto_json.decode import Fields
from tuningfork.wire.google.response_schemas import json_schema_of, violations_of

TEXT, JSON, CHOICE = "text/plain", "application/json", "text/x.enum"

_SCHEMAS = ("response_schema", "response_json_schema", "response_json_schema_ordered")
_HERE = "generation_config"


def violations_of_format(config: Fields) -> list[FieldViolation]:
    """Everything that is wrong with the answer format in a decoded GenerationConfig."""
    given = [name for name in _SCHEMAS if config.get(name, {}) != {}]
    mime_type = config.get("response_mime_type") or TEXT
    found = []
    if mime_type not in (TEXT, JSON, CHOICE):
        described = f"allowed mimetypes are `{TEXT}`, `{JSON}` and `{CHOICE}`; {mime_type[:80]!r} was given"
        found.append(_violation("response_mime_type", described))
    if given and mime_type == TEXT:
        described = f"{given[0]} needs a response_mime_type of `{JSON}`, or `{CHOICE}` for a choice"
        found.append(_violation("response_mime_type", described))
    if len(given) > 1:
        found.append(_violation(given[1], f"{' and '.join(given)} exclude each other; give one of them"))
    if "response_schema" in given:
        found += violations_of(config["response_schema"], f"{_HERE}.response_schema")
    for name in given:
        if name != "response_schema" and not isinstance(config[name], dict) and config[name] is not True:
            found.append(_violation(name, f"{name} must be a JSON object"))
    if mime_type == CHOICE and not found and not _choices(_json_schema(config)):
        name = given[0] if given else "response_schema"
        found.append(_violation(name, f"`{CHOICE}` needs a schema of type STRING with an enum"))
    return found


def answer_format_of(config: Fields) -> AnswerFormat | None:
    """The answer format in a GenerationConfig without violations; None: free text."""
    mime_type = config.get("response_mime_type") or TEXT
    if mime_type == TEXT:
        return None
    schema = _json_schema(config)
    if mime_type == CHOICE:
        return ChoiceAnswer(_choices(schema))
    return JsonAnswer(None if schema in (None, True) else json.dumps(schema, ensure_ascii=False))


def _violation(name: str, description: str) -> FieldViolation:
    return FieldViolation(field=f"{_HERE}.{name}", description=description)


def _json_schema(config: Fields) -> Any:
    """The schema in the config, as JSON Schema; None if there is none."""
    if config.get("response_schema"):
        return json_schema_of(config["response_schema"])
    return config.get("response_json_schema") or config.get("response_json_schema_ordered") or None


def _choices(schema: Any) -> tuple[str, ...]:
    """The texts of a schema that is an enum of texts; empty for other schemas."""
    if not isinstance(schema, dict) or schema.get("type") != "string":
        return ()
    choices = schema.get("enum")
    if not isinstance(choices, list) or not all(isinstance(each, str) and each for each in choices):
        return ()
    return tuple(dict.fromkeys(choices))
