"""Schemas of the API's own dialect: every fault by its path, and the JSON Schema that each becomes."""

import pytest

from tuningfork.wire.google.config_messages import SCHEMA
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.response_schemas import json_schema_of, violations_of

TEXT = {"type": "STRING"}


def faults(schema):
    return [(each.field, each.description) for each in violations_of(decode(SCHEMA, schema), "schema")]


def converted(schema):
    decoded = decode(SCHEMA, schema)
    assert list(violations_of(decoded, "schema")) == []
    return json_schema_of(decoded)


@pytest.mark.parametrize(
    ("schema", "json_schema"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "string"}, {"type": "string"}),
        ({"type": 2}, {"type": "number"}),
        ({"type": "7"}, {"type": "null"}),
        ({"type": "BOOLEAN", "nullable": True}, {"type": ["boolean", "null"]}),
        ({"type": "STRING", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "STRING", "format": "enum", "enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": "STRING", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            {"type": "STRING", "minLength": "2", "maxLength": 5, "pattern": "^a"},
            {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^a"},
        ),
        ({"type": "NUMBER", "minimum": 0, "maximum": 1.5}, {"type": "number", "minimum": 0, "maximum": 1.5}),
        ({"type": "NUMBER", "format": "double"}, {"type": "number"}),
        (
            {"type": "INTEGER", "format": "int32", "minimum": 0},
            {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        ),
        (
            {"type": "INTEGER", "format": "int64", "maximum": 1e30},
            {"type": "integer", "minimum": -(2**63) + 1024, "maximum": 2**63 - 1024},
        ),
        (
            {"type": "ARRAY", "items": TEXT, "minItems": "1", "max_items": "3"},
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        ),
        ({"type": "OBJECT"}, {"type": "object"}),
        ({"type": "OBJECT", "maxProperties": 2}, {"type": "object", "maxProperties": 2}),
        (
            {"type": "OBJECT", "properties": {"a": TEXT}, "required": ["a"], "minProperties": 1},
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "minProperties": 1,
                "additionalProperties": False,
            },
        ),
        (
            {"anyOf": [TEXT, {"type": "INTEGER"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        ),
        (
            {"type": "STRING", "title": "t", "description": "d", "default": "x", "example": {"a": 1}},
            {"type": "string", "description": "d"},
        ),
    ],
)
def test_every_member_becomes_what_it_means(schema, json_schema):
    assert converted(schema) == json_schema


@pytest.mark.parametrize(
    ("ordering", "order"), [([], "bca"), (["a", "b", "c"], "abc"), (["c"], "cba"), (["a", "a", "c"], "acb")]
)
def test_properties_come_in_the_order_that_is_said_and_then_as_they_were_sent(ordering, order):
    schema = {"type": "OBJECT", "properties": dict.fromkeys("bca", TEXT), "propertyOrdering": ordering}

    assert list(converted(schema)["properties"]) == list(order)


@pytest.mark.parametrize(
    ("schema", "field", "description"),
    [
        ({}, "type", "must be specified"),
        ({"type": "TYPE_UNSPECIFIED"}, "type", "must be specified"),
        ({"type": "INTEGER", "enum": ["1"]}, "enum", "only allowed for STRING type"),
        ({"type": "STRING", "enum": ["a", ""]}, "enum[1]", "cannot be empty"),
        ({"type": "STRING", "properties": {"a": TEXT}}, "properties", "only allowed for OBJECT type"),
        ({"type": "OBJECT", "items": TEXT}, "items", "only allowed for ARRAY type"),
        ({"type": "STRING", "minimum": 0}, "minimum", "only allowed for INTEGER and NUMBER type"),
        ({"type": "BOOLEAN", "pattern": "a"}, "pattern", "only allowed for STRING type"),
        ({"type": "ARRAY"}, "items", "missing field."),
        ({"type": "OBJECT", "required": ["a"]}, "required[0]", "property is not defined"),
        (
            {"type": "OBJECT", "properties": {"a": TEXT}, "propertyOrdering": ["a", "b"]},
            "property_ordering[1]",
            "property is not defined",
        ),
        ({"type": "STRING", "maxLength": -1}, "max_length", "must not be negative"),
        (
            {"type": "INTEGER", "format": "int8"},
            "format",
            "only 'int32', 'int64' are supported for INTEGER type",
        ),
        ({"type": "OBJECT", "properties": {"b c": {}}}, "properties[b c].type", "must be specified"),
        ({"type": "ARRAY", "items": {"type": "ARRAY"}}, "items.items", "missing field."),
        ({"anyOf": [TEXT, {"anyOf": [{}]}]}, "any_of[1].any_of[0].type", "must be specified"),
        (
            {"type": "OBJECT", "properties": {"a": TEXT}, "anyOf": [TEXT]},
            "any_of",
            "cannot stand beside properties; say that in each of its schemas",
        ),
    ],
)
def test_a_fault_is_found_by_its_path(schema, field, description):
    assert faults(schema) == [(f"schema.{field}", description)]


def test_a_format_that_is_not_known_is_told_which_ones_are():
    [(field, description)] = faults({"type": "STRING", "format": "colour"})

    assert field == "schema.format"
    assert description.startswith("only 'enum', 'date-time', ")


def test_every_fault_is_told_at_once():
    schema = {"type": "OBJECT", "properties": {"a": {"type": "ARRAY"}, "b": {"type": "NULL", "enum": ["x"]}}}

    assert [field for field, _ in faults(schema)] == ["schema.properties[a].items", "schema.properties[b].enum"]


@pytest.mark.parametrize("name", ["required", "enum"])
def test_empty_lists_say_nothing(name):
    assert faults({"type": "BOOLEAN", name: []}) == []
