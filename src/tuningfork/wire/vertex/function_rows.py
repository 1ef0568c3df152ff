"""Reads the function calls, the responses and the declarations in a row of a training file.

    {"functionCall": {"name": "f", "args": {"a": 1}}}
    {"functionResponse": {"name": "f", "response": {"b": 2}}}
    {"functionDeclarations": [{"name": "f", "description": "...", "parameters": {"type": "OBJECT", ...}}]}

Source: vertex-api section 5.1; google/cloud/aiplatform/v1/tool.proto.
"""

import json
from collections.abc import Mapping
from typing import Any

from tuningfork.domain.function_calls import FunctionCall, FunctionResponse
from tuningfork.domain.text import refusal_of
from tuningfork.wire.vertex.row_faults import Wrong, camel, each, kind, quoted

_CALL_FIELDS = {"id", "name", "args"}
_RESPONSE_FIELDS = {"id", "name", "response"}
_DECLARATION_FIELDS = {"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema"}
_SCHEMAS = ("items", "additionalProperties")
_LISTS_OF_SCHEMAS = ("anyOf",)
_NAMED_SCHEMAS = ("properties", "defs")


def read_call(value: Any) -> FunctionCall:
    """A function call. Its id is passed over: calls and responses are paired by their order.

    Raises:
        Wrong: it has no name, or arguments that are no object.

    """
    fields = _fields(value, "a function call", _CALL_FIELDS)
    return FunctionCall(_name(fields), _object(fields, "args"))


def read_response(value: Any) -> FunctionResponse:
    """The response of a function.

    Raises:
        Wrong: it has no name, or a response that is no object.

    """
    fields = _fields(value, "the response of a function", _RESPONSE_FIELDS)
    return FunctionResponse(_name(fields), _object(fields, "response"))


def read_tools(tools: Any) -> tuple[Mapping[str, Any], ...]:
    """The declarations of functions in the tools of a row, their parameters as JSON schemas.

    Raises:
        Wrong: a tool is not of functions, or a declaration cannot be read.

    """
    return tuple(declared for tool in each(_declarations_of, tools, "tools") for declared in tool)


def _declarations_of(tool: Any) -> list[Mapping[str, Any]]:
    if not isinstance(tool, dict):
        raise Wrong(f"a tool must be an object with functionDeclarations; {kind(tool)} was given.")
    for name, value in tool.items():
        if camel(name) != "functionDeclarations" and value not in (None, {}, []):
            raise Wrong(f"{quoted(name)} is not trained on here; a tool has functionDeclarations.", camel(name))
    declared = next((value for name, value in tool.items() if camel(name) == "functionDeclarations"), None)
    return [] if declared is None else each(_declaration, declared, "functionDeclarations")


def _declaration(value: Any) -> Mapping[str, Any]:
    fields = _fields(value, "a declaration of a function", _DECLARATION_FIELDS)
    found: dict[str, Any] = {"name": _name(fields), "description": _text(fields, "description")}
    given = [fields[name] for name in ("parameters", "parametersJsonSchema") if fields.get(name) is not None]
    if len(given) > 1:
        raise Wrong("was given beside parameters; give one of them.", "parametersJsonSchema")
    found["parameters"] = _schema(given[0]) if given else {"type": "object", "properties": {}}
    # What a function gives back is no matter of the call.
    return found


def _schema(value: Any) -> Any:
    """A schema of the API as a JSON schema, which spells types in small letters."""
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for given, inner in value.items():
        name = camel(given)
        if inner is None:
            continue
        if name == "type" and isinstance(inner, str):
            found[name] = inner.lower()
        elif name in _SCHEMAS:
            found[name] = _schema(inner)
        elif name in _LISTS_OF_SCHEMAS and isinstance(inner, list):
            found[name] = [_schema(one) for one in inner]
        elif name in _NAMED_SCHEMAS and isinstance(inner, dict):
            found[name] = {key: _schema(one) for key, one in inner.items()}
        else:
            found[name] = inner
    return found


def _fields(value: Any, what: str, allowed: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Wrong(f"{what} must be an object with a name; {kind(value)} was given.")
    fields = {camel(name): inner for name, inner in value.items() if inner is not None}
    if unknown := fields.keys() - allowed:
        raise Wrong(f"unknown field {quoted(min(unknown))}; {what} may have {', '.join(sorted(allowed))}.")
    return fields


def _name(fields: Mapping[str, Any]) -> str:
    name = _text(fields, "name")
    if not name:
        raise Wrong("the name of the function is missing.", "name")
    return name


def _text(fields: Mapping[str, Any], name: str) -> str:
    text = fields.get(name, "")
    if not isinstance(text, str):
        raise Wrong(f"a text is wanted; {kind(text)} was given.", name)
    if refusal := refusal_of(text):
        raise Wrong(f"{refusal}.", name)
    return text


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise Wrong(f"an object is wanted; {kind(value)} was given.", name)
    try:
        refusal = refusal_of(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except ValueError as error:
        raise Wrong("has a number that is none in JSON: NaN or Infinity.", name) from error
    if refusal:
        raise Wrong(f"{refusal}.", name)
    return value
