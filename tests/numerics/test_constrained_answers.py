"""Whatever a model would like to say, a constrained answer parses and has the form that was asked for.

The writer takes any token that is allowed, which no weights can be worse at. What it wrote is judged by the
`jsonschema` package, and for schemas in the API's own dialect by a reading of that dialect made here.
"""

import ipaddress
import json
import re
import uuid
from datetime import date, datetime

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from constrained_writing import grammars_of, write
from exploring import often
from tokenizer_kinds import KINDS, chat_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.wire.google.answer_formats import answer_format_of, violations_of_format
from tuningfork.wire.google.config_messages import GENERATION_CONFIG
from tuningfork.wire.google.proto_json.decode import decode

SETTINGS = settings(
    max_examples=often(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
NAMES = st.sampled_from(["a", "b", "name", "with space", 'quo"te', "日", "", "true"])
PATTERNS = st.sampled_from(
    [
        "^[a-z]{2,4}$",
        "a+b",
        "^(x|yz)*$",
        r"\d{3}",
        r"^\w+ \w+$",
        "^a|b$",
        "[^a-y]",
        "^$",
        r"^\s?é$",
        r"^[\u4e00-\u4e10]+$",
    ]
)
SMALL = st.integers(0, 3)
BOUNDS = st.one_of(st.integers(-1000, 1000), st.decimals(-1000, 1000, places=2).map(float))


@pytest.fixture(scope="module", params=list(KINDS))
def writer(request):
    chat = chat_of(request.param)
    return chat, grammars_of(chat)


def written(writer, form, seed):
    """What was written to its end; examples that had to be broken off prove nothing."""
    said = write(*writer, form, seed)
    assume(said.ended)
    return said.text


# JSON Schema


def scalars():
    return st.one_of(
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.fixed_dictionaries(
            {"type": st.just("string")}, optional={"minLength": SMALL, "maxLength": st.integers(3, 9)}
        ),
        st.fixed_dictionaries({"type": st.just("string"), "pattern": PATTERNS}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number"])},
            optional={"minimum": BOUNDS, "maximum": BOUNDS.map(lambda bound: bound + 1500)},
        ),
        st.fixed_dictionaries(
            {"type": st.just("integer"), "exclusiveMinimum": SMALL, "multipleOf": st.integers(1, 30)}
        ),
        st.fixed_dictionaries(
            {"enum": st.lists(st.one_of(NAMES, SMALL, st.none(), st.just([1])), min_size=1, max_size=4)}
        ),
        st.fixed_dictionaries({"const": st.one_of(NAMES, BOUNDS, st.just({"k": [None, {}]}))}),
        st.just({"type": ["string", "null"], "maxLength": 4}),
    )


def containers(inner):
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": SMALL, "maxItems": st.integers(3, 5)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("array"), "prefixItems": st.lists(inner, min_size=1, max_size=3), "items": st.just(False)}
        ),
        objects(inner),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
    )


@st.composite
def objects(draw, inner):
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    others = draw(st.one_of(st.just(False), inner))
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": others}


def json_schemas():
    return st.recursive(scalars(), containers, max_leaves=8)


@SETTINGS
@given(schema=json_schemas(), seed=st.integers(0, 2**32))
def test_every_answer_is_valid_json_of_its_schema(writer, schema, seed):
    try:
        text = written(writer, JsonAnswer(json.dumps(schema)), seed)
    except InvalidArgument as refused:
        # A schema that nothing satisfies is told, not followed.
        assert re.search("Unsatisfiable|Unable to determine", refused.message), refused.message  # noqa: PT017
        assume(False)
    value = json.loads(text)
    Draft202012Validator(schema).validate(value)
    assert_in_order(schema, value)


def assert_in_order(schema, value):
    """The listed keys first, in their order and each once."""
    if isinstance(value, dict) and schema.get("type") == "object":
        listed = [key for key in value if key in schema["properties"]]
        assert listed == [key for key in schema["properties"] if key in value]
        assert list(value)[: len(listed)] == listed


@SETTINGS
@given(seed=st.integers(0, 2**32))
def test_json_without_a_schema_is_json(writer, seed):
    json.loads(written(writer, JsonAnswer(), seed))


@SETTINGS
@given(
    choices=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_a_choice_is_one_of_those_given(writer, choices, seed):
    # The first space of a text is the tokenizer's own where it drops one.
    assume(not any(choice.startswith(" ") for choice in choices))
    assert written(writer, ChoiceAnswer(tuple(choices)), seed) in choices


@pytest.mark.parametrize(
    "choices", [("a", "ab", "abc"), ('say "no"', "back\\slash", "two\nlines"), ("😀", "\u2028", "<|end|>")]
)
def test_each_choice_can_be_taken(writer, choices):
    chat, grammars = writer
    taken = {write(chat, grammars, ChoiceAnswer(choices), seed).text for seed in range(400)}
    assert taken == set(choices)


READERS = {
    "date-time": lambda text: datetime.fromisoformat(text.upper().replace(":60", ":59")),
    "date": date.fromisoformat,
    "time": lambda text: datetime.fromisoformat(f"2000-01-01T{text.upper().replace(':60', ':59')}"),
    "uuid": uuid.UUID,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "email": lambda text: re.fullmatch(r".+@.+", text)[0],
    "hostname": lambda text: re.fullmatch(r"[A-Za-z0-9.-]{1,255}", text)[0],
    "duration": lambda text: re.fullmatch(r"P[0-9YMWDTHS]+", text)[0],
    "uri": lambda text: re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text)[0],
}


@pytest.mark.parametrize("form", sorted(READERS))
def test_texts_of_a_format_can_be_read_as_what_they_are(writer, form):
    chat, grammars = writer
    schema = JsonAnswer(json.dumps({"type": "string", "format": form}))
    texts = [said.text for seed in range(12) if (said := write(chat, grammars, schema, seed)).ended]
    assert texts, "none was written to its end, so nothing was tested"
    for text in texts:
        READERS[form](json.loads(text))


# The API's own dialect


def api_scalars():
    nullable = {"nullable": st.booleans(), "description": st.just("d"), "title": st.just("t"), "default": st.just(1)}
    return st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["BOOLEAN", "boolean", 4])}, optional=nullable),
        st.just({"type": "NULL"}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["STRING", "string", 1])},
            optional={"minLength": SMALL.map(str), "max_length": st.integers(3, 9), **nullable},
        ),
        st.fixed_dictionaries({"type": st.just("STRING"), "pattern": PATTERNS}, optional=nullable),
        st.fixed_dictionaries(
            {"type": st.just("STRING"), "enum": st.lists(NAMES.filter(bool), min_size=1, max_size=4)},
            optional={"format": st.just("enum"), **nullable},
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["INTEGER", 3])},
            optional={
                "minimum": BOUNDS,
                "maximum": BOUNDS.map(lambda bound: bound + 1500),
                "format": st.sampled_from(["int32", "int64"]),
                **nullable,
            },
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["NUMBER", "number"])},
            optional={"minimum": BOUNDS, "format": st.sampled_from(["float", "double"]), **nullable},
        ),
    )


def api_containers(inner):
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("ARRAY"), "items": inner},
            optional={"minItems": SMALL.map(str), "maxItems": st.integers(3, 5).map(str), "nullable": st.booleans()},
        ),
        api_objects(inner),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}, optional={"nullable": st.booleans()}),
    )


@st.composite
def api_objects(draw, inner):
    properties = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=4))
    names = st.lists(st.sampled_from(sorted(properties)), unique=True)
    return {
        "type": draw(st.sampled_from(["OBJECT", "object", 6])),
        "properties": properties,
        "required": draw(names),
        "propertyOrdering": draw(names),
        "nullable": draw(st.booleans()),
    }


KIND_OF = {1: "string", 3: "integer", 4: "boolean", 6: "object"}
TYPES = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def conforms(schema, value) -> bool:
    """Whether a value is what a schema in the API's dialect describes."""
    if value is None and schema.get("nullable"):
        return True
    if "anyOf" in schema:
        return any(conforms(each, value) for each in schema["anyOf"])
    kind = KIND_OF.get(schema["type"]) or schema["type"].lower()
    return TYPES[kind](value) and CHECKS.get(kind, lambda *_: True)(schema, value)


def string_conforms(schema, value) -> bool:
    return (
        int(schema.get("minLength", 0)) <= len(value) <= schema.get("max_length", len(value))
        and bool(re.search(schema.get("pattern", ""), value))
        and value in schema.get("enum", [value])
    )


def number_conforms(schema, value) -> bool:
    # A float may be read as infinite: JSON's numbers have no range.
    bits = {"int32": 31, "int64": 63}.get(schema.get("format"))
    in_range = bits is None or -(2**bits) <= value < 2**bits
    return schema.get("minimum", value) <= value <= schema.get("maximum", value) and in_range


def array_conforms(schema, value) -> bool:
    fits = int(schema.get("minItems", 0)) <= len(value) <= int(schema.get("maxItems", len(value)))
    return fits and all(conforms(schema["items"], each) for each in value)


def object_conforms(schema, value) -> bool:
    order = list(dict.fromkeys([*schema["propertyOrdering"], *schema["properties"]]))
    return (
        list(value) == [name for name in order if name in value]
        and set(schema["required"]) <= set(value)
        and all(conforms(schema["properties"][name], each) for name, each in value.items())
    )


CHECKS = {
    "string": string_conforms,
    "number": number_conforms,
    "integer": number_conforms,
    "array": array_conforms,
    "object": object_conforms,
}


@SETTINGS
@given(schema=st.recursive(api_scalars(), api_containers, max_leaves=8), seed=st.integers(0, 2**32))
def test_every_answer_is_what_a_schema_of_the_api_describes(writer, schema, seed):
    config = decode(GENERATION_CONFIG, {"responseMimeType": "application/json", "responseSchema": schema})
    assert violations_of_format(config) == []
    value = json.loads(written(writer, answer_format_of(config), seed))
    assert conforms(schema, value), value
