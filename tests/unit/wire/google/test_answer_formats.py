"""The form that a request asks for, and what is wrong with it."""

import json

import pytest

from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.wire.google.answer_formats import answer_format_of, violations_of_format
from tuningfork.wire.google.config_messages import GENERATION_CONFIG
from tuningfork.wire.google.proto_json.decode import decode

JSON = {"responseMimeType": "application/json"}
CHOICE = {"responseMimeType": "text/x.enum"}
TEXT = {"type": "STRING"}


def config(members):
    return decode(GENERATION_CONFIG, members)


def form(members):
    assert violations_of_format(config(members)) == []
    return answer_format_of(config(members))


def faults(members):
    return [
        (each.field.removeprefix("generation_config."), each.description)
        for each in violations_of_format(config(members))
    ]


@pytest.mark.parametrize("members", [{}, {"responseMimeType": "text/plain"}, {"responseSchema": {}}])
def test_text_has_no_form(members):
    assert form(members) is None


@pytest.mark.parametrize(
    "schema", [{}, {"responseSchema": {}}, {"responseJsonSchema": {}}, {"responseJsonSchema": True}]
)
def test_json_without_a_schema_is_any_json(schema):
    assert form({**JSON, **schema}) == JsonAnswer()


@pytest.mark.parametrize("name", ["_responseJsonSchema", "responseJsonSchema", "response_json_schema"])
def test_a_json_schema_is_kept_as_it_is_under_every_name(name):
    schema = {"type": "object", "properties": {"ü": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": ["null"]}}}

    assert json.loads(form({**JSON, name: schema}).schema) == schema


def test_a_schema_of_the_api_becomes_a_json_schema():
    assert form({**JSON, "responseSchema": TEXT}) == JsonAnswer('{"type": "string"}')


@pytest.mark.parametrize(
    "schema",
    [
        {"responseSchema": {"type": "STRING", "enum": ["a", "b", "a"]}},
        {"responseSchema": {"type": "STRING", "format": "enum", "enum": ["a", "b"]}},
        {"responseJsonSchema": {"type": "string", "title": "Letter", "enum": ["a", "b"]}},
    ],
)
def test_a_choice_has_each_text_once(schema):
    assert form({**CHOICE, **schema}) == ChoiceAnswer(("a", "b"))


@pytest.mark.parametrize(
    ("members", "field", "description"),
    [
        (
            {"responseMimeType": "application/xml"},
            "response_mime_type",
            "allowed mimetypes are `text/plain`, `application/json` and `text/x.enum`; 'application/xml' was given",
        ),
        (
            {"responseSchema": TEXT},
            "response_mime_type",
            "response_schema needs a response_mime_type of `application/json`, or `text/x.enum` for a choice",
        ),
        (
            {**JSON, "responseSchema": TEXT, "responseJsonSchema": {"type": "null"}},
            "response_json_schema_ordered",
            "response_schema and response_json_schema_ordered exclude each other; give one of them",
        ),
        ({**JSON, "responseJsonSchema": "x"}, "response_json_schema_ordered", None),
        ({**JSON, "responseJsonSchema": False}, "response_json_schema_ordered", None),
        ({**JSON, "_responseJsonSchema": [1]}, "response_json_schema", "response_json_schema must be a JSON object"),
        ({**JSON, "responseSchema": {"type": "ARRAY"}}, "response_schema.items", "missing field."),
        (CHOICE, "response_schema", "`text/x.enum` needs a schema of type STRING with an enum"),
        ({**CHOICE, "responseSchema": TEXT}, "response_schema", None),
        ({**CHOICE, "responseSchema": {"type": "OBJECT"}}, "response_schema", None),
        ({**CHOICE, "responseJsonSchema": {"type": "string", "enum": [1]}}, "response_json_schema_ordered", None),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(members, field, description):
    [(found, said)] = faults(members)

    assert found == field
    assert description in (None, said)
