"""What a schema may ask for, so that compiling it is safe."""

import json

import pytest

from constrained_writing import grammars_of
from tokenizer_kinds import chat_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.inference.answer_schemas import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_MULTIPLE,
    MAX_REFERENCES,
    grammar_of,
)


def nested(levels):
    schema = {"type": "null"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def chain(links, link=lambda reference: {"$ref": reference}):
    names = {f"a{index}": link(f"#/$defs/a{index + 1}") for index in range(links)}
    return {"$ref": "#/$defs/a0", "$defs": {**names, f"a{links}": {"type": "object", "properties": {"x": {}}}}}


def refusal_of(schema):
    with pytest.raises(InvalidArgument) as caught:
        grammar_of(JsonAnswer(json.dumps(schema)))
    assert [each.field for each in caught.value.violations] == ["sampling.answer_format"]
    return caught.value.message


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"const": "x" * MAX_CHARACTERS}, "characters"),
        (nested(MAX_DEPTH), "nested more than"),
        (chain(MAX_REFERENCES + 1), "references"),
        ({"type": "integer", "multipleOf": MAX_MULTIPLE + 1}, "multipleOf"),
        ({"type": "number", "multipleOf": 0.00001, "anyOf": [{"multipleOf": 7}]}, "multipleOf"),
        ({"allOf": [{"type": "integer", "multipleOf": 9973}, {"multipleOf": 9967}]}, "multipleOf 9973, 9967"),
        ({"prefixItems": [{"multipleOf": 9973}] * 6}, "multipleOf"),
        ({"type": "object", "minProperties": 2}, "minProperties 2 cannot be enforced"),
        ({"type": "object", "required": ["a"], "minProperties": 3}, "minProperties"),
        ({"$ref": "#/default", "default": {"multipleOf": 99_999_999}}, "'#/default' points at a value"),
        ({"items": {"$ref": "#/$defs/a/%65num", "$defs": {"a": {"enum": {"type": "null"}}}}}, "points at a value"),
        ({"$id": "a:b", "$ref": "a:b#/x/examples/0", "x": {"examples": [{}]}}, "points at a value"),
        ([{"type": "string"}], "must be a JSON object"),
        (False, "must be a JSON object"),
    ],
)
def test_what_would_cost_too_much_or_cannot_be_promised_is_refused(schema, said):
    assert said in refusal_of(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"const": "x" * (MAX_CHARACTERS - 20)},
        nested(MAX_DEPTH - 1),
        chain(MAX_REFERENCES - 1),
        {"type": "integer", "multipleOf": MAX_MULTIPLE},
        {"prefixItems": [{"multipleOf": 9973}] * 5},
        {"type": "object", "minProperties": 1},
        {"type": "object", "required": ["a"], "minProperties": 2},
        {"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": False, "minProperties": 2},
        {"enum": [{"multipleOf": 99_999_999, "$ref": "#"}], "default": {"minProperties": 9}},
        {"properties": {"$ref": {"type": "null"}, "multipleOf": {"type": "null"}, "minProperties": {"type": "null"}}},
        {"$ref": "#/$defs/enum/properties/default", "$defs": {"enum": {"properties": {"default": {"type": "null"}}}}},
        True,
    ],
)
def test_what_only_looks_so_is_taken(schema):
    assert json.loads(grammar_of(JsonAnswer(json.dumps(schema))))


@pytest.mark.parametrize(
    "link",
    [
        lambda reference: {"$ref": reference},
        lambda reference: {"type": "array", "items": {"$ref": reference}, "maxItems": 1},
        lambda reference: {"allOf": [{"$ref": reference}, {"type": "object"}]},
        lambda reference: {"anyOf": [{"$ref": reference}, {"type": "null"}]},
        lambda reference: {"type": "object", "properties": {"x": {"$ref": reference}}, "required": ["x"]},
    ],
)
def test_the_longest_chain_of_references_is_followed(link):
    # Some thousand links overflow the compiler's stack, which would end the process.
    form = JsonAnswer(json.dumps(chain(MAX_REFERENCES - 1, link)))
    assert grammars_of(chat_of("embedded")).begin(form).fault is None


def test_choices_are_bounded_too():
    with pytest.raises(InvalidArgument, match="the choices have"):
        grammar_of(ChoiceAnswer(("x" * MAX_CHARACTERS, "y")))


def test_properties_come_in_the_order_that_is_said_and_then_as_they_are():
    schema = {"properties": {key: {} for key in "abcd"}, "propertyOrdering": ["c", "b", "nowhere", 5]}
    [grammar] = json.loads(grammar_of(JsonAnswer(json.dumps(schema))))["grammars"]
    assert list(grammar["json_schema"]["properties"]) == ["c", "b", "a", "d"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}},
        {"items": {"properties": {"a": {}}}},
        {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}], "$defs": {"x": {"properties": {"a": {}}}}},
    ],
)
def test_an_object_that_lists_its_properties_has_no_others(schema):
    assert '"additionalProperties": false' in grammar_of(JsonAnswer(json.dumps(schema))).replace(":false", ": false")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"properties": {}},
        {"properties": {"a": {}}, "required": ["b"]},
        {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
        {"properties": {"a": {}}, "patternProperties": {"^x": {}}},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}]},
        {"enum": [{"properties": {"a": 1}}]},
    ],
)
def test_what_may_have_others_still_may(schema):
    assert '"additionalProperties":false' not in grammar_of(JsonAnswer(json.dumps(schema))).replace(": ", ":")


def test_a_caller_cannot_tell_the_compiler_to_look_away():
    schema = {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}
    with pytest.raises(InvalidArgument, match="uniqueItems"):
        grammars_of(chat_of("embedded")).begin(JsonAnswer(json.dumps(schema)))
