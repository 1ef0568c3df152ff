"""Turns an answer format into a grammar, and refuses schemas that would be expensive or unsafe to compile.

The compiler (llguidance) limits its own work in most places, and reports an error. This module limits what the compiler
does not: a chain of some thousand references overflows its stack, and the automaton of `multipleOf: n` has n states.
Schemas that need a check which the compiler does not make are refused too: it allows an answer to repeat a key that
`properties` does not list.
"""

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

from llguidance import LLMatcher

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.generation import AnswerFormat, ChoiceAnswer
from tuningfork.inference.schema_numbers import LARGEST_BOUND, inexact_numbers, is_number, tighten_bounds

MAX_CHARACTERS = 100_000
"""The most characters of a schema as JSON text, or of all choices together."""
MAX_DEPTH = 64
"""The deepest nesting of objects and arrays in a schema."""
MAX_REFERENCES = 200
"""The most `$ref`s in one schema, since the compiler follows a chain of them recursively."""
MAX_MULTIPLE = 50_000
"""The largest sum of all `multipleOf`s of a schema, in units of their last decimal place. Where schemas are merged,
their least common multiple counts. Compiling takes about 4 microseconds for each unit."""

_FIELD = "sampling.answer_format"
_WHITE_SPACE = r"[ ]|\n[ \t]{0,64}"
"""The white space allowed between the tokens of JSON: a space or an indented line. Without a limit a model may write
white space endlessly."""

_CONSTRAINING = {
    "type",
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
    "multipleOf",
}
_MAPS_OF_SCHEMAS = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_DATA = {"enum", "const", "default", "example", "examples"}


def refusal(reason: str) -> InvalidArgument:
    """The error for an answer format that cannot be enforced."""
    return InvalidArgument(reason, violations=(FieldViolation(field=_FIELD, description=reason),))


def grammar_of(answer_format: AnswerFormat, *, lead: str = "") -> str:
    """The grammar of an answer, for `llguidance.LLMatcher`.

    Args:
        answer_format: what the answer has to look like.
        lead: what the chat template writes before an answer; the grammar begins with it.

    Raises:
        InvalidArgument: the format is too large, or asks for something that cannot be enforced. Other faults show when
            the grammar is compiled.

    """
    if isinstance(answer_format, ChoiceAnswer):
        return _grammar_of_choices(answer_format.choices, lead)
    schema = _read(answer_format.schema)
    schema["x-guidance"] = {"whitespace_pattern": _WHITE_SPACE}
    text = json.dumps(schema)
    if lead:
        return LLMatcher.grammar_from_lark(f"start: {json.dumps(lead)} answer\nanswer: %json {text}")
    return LLMatcher.grammar_from_json_schema(text)


def texts_of(answer_format: AnswerFormat, *, lead: str = "") -> tuple[bytes, ...]:
    """What strings of an answer are, if they are one of several: as JSON, the shortest first.

    Args:
        answer_format: what the answer has to look like; of a schema, those of `enum` and `const`. Of several texts,
            these themselves, after the lead.
        lead: as in `grammar_of`, which accepts this format.

    """
    if isinstance(answer_format, ChoiceAnswer):
        texts = {lead + choice for choice in answer_format.choices}
    else:
        nodes = list(_schemas_in(_read(answer_format.schema)))
        values = [node.get("const") for node in nodes]
        values += [value for node in nodes if isinstance(node.get("enum"), list) for value in node["enum"]]
        texts = {json.dumps(value, ensure_ascii=False) for value in values if isinstance(value, str)}
    return tuple(sorted((text.encode(errors="replace") for text in texts), key=lambda text: (len(text), text)))


def _grammar_of_choices(choices: tuple[str, ...], lead: str) -> str:
    characters = sum(map(len, choices))
    if characters > MAX_CHARACTERS:
        raise refusal(f"the choices have {characters} characters together; at most {MAX_CHARACTERS} are taken")
    alternatives = " | ".join(map(json.dumps, choices))
    before = f"{json.dumps(lead)} " if lead else ""
    return LLMatcher.grammar_from_lark(f"start: {before}({alternatives})")


def _read(text: str | None) -> dict[str, Any]:
    """Parse a schema, check it against the limits, and order its properties as an answer writes them.

    Raises:
        InvalidArgument: the schema exceeds a limit.

    """
    if text is None:
        return {}
    if len(text) > MAX_CHARACTERS:
        raise refusal(f"the schema has {len(text)} characters; at most {MAX_CHARACTERS} are taken")
    schema = json.loads(text)
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise refusal("the schema must be a JSON object")
    _check_depth(schema)
    nodes = list(_schemas_in(schema))
    _check_references(nodes)
    _check_multiples(nodes)
    merged = any(map(_merges, nodes))
    for node in nodes:
        if not merged:
            _close(node)
        _check_numbers(node)
        _check_counted_keys(node)
        _order_properties(node)
        tighten_bounds(node)
    # `x-guidance` sets options of the compiler, and would override the options that this module sets.
    schema.pop("x-guidance", None)
    return schema


def _check_depth(schema: dict[str, Any]) -> None:
    level: list[Any] = [schema]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
    if level:
        raise refusal(f"the schema is nested more than {MAX_DEPTH} levels deep")


def _schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and all schemas nested in it.

    Values such as those of `enum` are data, even where they look like a schema.
    """
    if isinstance(schema, list):
        for each in schema:
            yield from _schemas_in(each)
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in _MAPS_OF_SCHEMAS and isinstance(value, dict):
            for each in value.values():
                yield from _schemas_in(each)
        elif key not in _DATA:
            yield from _schemas_in(value)


def _check_references(nodes: list[dict[str, Any]]) -> None:
    references = [node["$ref"] for node in nodes if isinstance(node.get("$ref"), str)]
    if len(references) > MAX_REFERENCES:
        raise refusal(f"the schema has {len(references)} references ($ref); at most {MAX_REFERENCES} are taken")
    for reference in references:
        # The checks skip data such as the values of `enum`, so a schema that is referred to there would not be checked.
        if _points_at_data(reference):
            raise refusal(
                f"$ref {reference[:80]!r} points at a value, not at a schema; put schemas that are shared below $defs"
            )


def _points_at_data(reference: str) -> bool:
    """Whether a JSON pointer leads into data, which `_schemas_in` skips."""
    in_map = False
    for key in unquote(reference.partition("#")[2]).split("/")[1:]:
        if not in_map and key in _DATA:
            return True
        in_map = not in_map and key in _MAPS_OF_SCHEMAS
    return False


def _check_multiples(nodes: list[dict[str, Any]]) -> None:
    given = [node["multipleOf"] for node in nodes if is_number(node.get("multipleOf")) and node["multipleOf"] > 0]
    exact = [Fraction(repr(number)) for number in given]
    unit = math.lcm(*(number.denominator for number in exact))
    units = [int(number * unit) for number in exact]
    if (math.lcm(*units) if any(map(_merges, nodes)) else sum(units)) > MAX_MULTIPLE:
        raise refusal(
            f"multipleOf {', '.join(map(str, given[:5]))} cannot be enforced: in units of the last decimal place, "
            f"their sum (the least common multiple where schemas are merged) must be at most {MAX_MULTIPLE}"
        )


def _merges(node: dict[str, Any]) -> bool:
    """Whether an answer has to satisfy several schemas at one place."""
    choosing = sum(key in node for key in ("$ref", "anyOf", "oneOf"))
    return "allOf" in node or choosing > 1 or (choosing == 1 and bool(node.keys() & _CONSTRAINING))


def _check_numbers(node: dict[str, Any]) -> None:
    for asked in inexact_numbers(node):
        raise refusal(
            f"{asked[:60]} cannot be enforced: numbers are kept exactly up to {2**53} from zero, those that a 64-bit "
            f"float holds up to {LARGEST_BOUND}. Use numbers of this size, or strings"
        )


def _check_counted_keys(node: dict[str, Any]) -> None:
    least, required = node.get("minProperties", 0), node.get("required")
    is_open = node.get("additionalProperties") is not False or "patternProperties" in node
    if not (is_number(least) and is_open):
        return
    certain = len(set(map(str, required))) if isinstance(required, list) else 0
    if least > certain + 1:
        raise refusal(
            f"minProperties {least} cannot be enforced, because keys that properties does not list may repeat: list "
            "the keys in properties and forbid others (additionalProperties false), or require them"
        )


def _close(node: dict[str, Any]) -> None:
    """Set `additionalProperties` to false where a schema lists properties and does not say whether others are allowed.

    Answers stay valid against the caller's schema, and models do not invent keys. Schemas that are merged with others
    are left as they are: each would forbid the properties of the other.
    """
    listed, required = node.get("properties"), node.get("required", [])
    if not (isinstance(listed, dict) and listed) or "patternProperties" in node:
        return
    if isinstance(required, list) and all(isinstance(name, str) and name in listed for name in required):
        node.setdefault("additionalProperties", False)


def _order_properties(node: dict[str, Any]) -> None:
    """Put the properties into the order that `propertyOrdering` gives; properties that it does not name come last."""
    order, properties = node.pop("propertyOrdering", None), node.get("properties")
    if isinstance(order, list) and isinstance(properties, dict):
        first = {name: properties[name] for name in order if isinstance(name, str) and name in properties}
        node["properties"] = first | properties
