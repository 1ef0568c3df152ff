"""Bounds and values near the ends of what is kept exactly: an answer satisfies its schema, or the schema is refused."""

import json
from decimal import Decimal

import pytest

from constrained_writing import grammars_of, write
from tokenizer_kinds import chat_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import JsonAnswer
from tuningfork.inference.schema_numbers import LARGEST_BOUND

LEAST_INT64, GREATEST_INT64 = -(2**63), 2**63 - 1


@pytest.fixture(scope="module")
def plain():
    """The embedded base's way: a token is a byte."""
    return chat_of("embedded")


def satisfies(value, schema):
    exact = {key: Decimal(repr(bound)) for key, bound in schema.items() if key != "type"}
    return (
        value >= exact.get("minimum", value)
        and value <= exact.get("maximum", value)
        and not ("exclusiveMinimum" in exact and value <= exact["exclusiveMinimum"])
        and not ("exclusiveMaximum" in exact and value >= exact["exclusiveMaximum"])
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": LEAST_INT64, "maximum": GREATEST_INT64},
        {"type": "integer", "minimum": 2**53 + 1, "maximum": 2**53 + 5},
        {"type": "integer", "minimum": -(2**53) - 5, "maximum": -(2**53) - 1},
        {"type": "integer", "minimum": LARGEST_BOUND - 4096, "maximum": 2**64},
        {"type": "integer", "minimum": -1e300, "maximum": 4096 - LARGEST_BOUND},
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 3},
        {"type": "integer", "minimum": -3, "exclusiveMaximum": 0},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-9},
        {"type": "number", "exclusiveMinimum": 0, "minimum": -5, "maximum": 1e-9},
        {"type": "number", "minimum": -0.5, "exclusiveMaximum": 0},
        {"type": "number", "exclusiveMinimum": -0.25, "exclusiveMaximum": -0.0},
        {"type": "number", "exclusiveMinimum": 0.5, "maximum": 0.7},
    ],
    ids=json.dumps,
)
def test_an_answer_is_within_its_bounds(plain, schema):
    grammars = grammars_of(plain)
    written = [write(plain, grammars, JsonAnswer(json.dumps(schema)), seed) for seed in range(40)]
    ended = [json.loads(each.text, parse_float=Decimal) for each in written if each.ended]
    assert ended
    assert [value for value in ended if not satisfies(value, schema)] == []


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 2**70 + 1, "maximum": 2**70 + 3}, "minimum 1180591620717411303425"),
        # These three ended the process.
        ({"type": "integer", "minimum": -(2**64), "maximum": LEAST_INT64}, "maximum -9223372036854775808"),
        ({"type": "integer", "minimum": LEAST_INT64 + 1, "maximum": LEAST_INT64 + 1}, "maximum -9223372036854775807"),
        ({"enum": [LEAST_INT64]}, "enum -9223372036854775808"),
        ({"allOf": [{"type": "integer", "minimum": -1e300}, {"exclusiveMaximum": -1e19}]}, "exclusiveMaximum -1e+19"),
        ({"const": 2**53 + 1}, "const 9007199254740993"),
        ({"enum": ["a", {"b": [2**64]}]}, "enum 18446744073709551616"),
        ({"type": "integer", "minimum": 10**400}, "minimum 1000"),
    ],
)
def test_a_number_that_cannot_be_kept_is_told(plain, schema, said):
    with pytest.raises(InvalidArgument, match="cannot be enforced: numbers are kept exactly") as caught:
        grammars_of(plain).begin(JsonAnswer(json.dumps(schema)))
    assert said in caught.value.message


@pytest.mark.parametrize("value", [2**53, -(2**53) - 2, LARGEST_BOUND, -LARGEST_BOUND, 0.1, -1e-7, True, None])
def test_a_value_that_is_kept_exactly_is_written_so(plain, value):
    written = write(plain, grammars_of(plain), JsonAnswer(json.dumps({"const": value})), 0)
    assert json.loads(written.text) == value


def test_a_bound_that_is_no_number_is_left_to_the_compiler(plain):
    with pytest.raises(InvalidArgument, match="minimum"):
        grammars_of(plain).begin(JsonAnswer('{"type": "number", "minimum": "x", "exclusiveMinimum": 0}'))
