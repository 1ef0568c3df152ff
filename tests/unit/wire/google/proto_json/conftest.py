"""A small message with a field of every kind."""

import pytest

from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule

COLOUR = Enum("test.Colour", {"COLOUR_UNSPECIFIED": 0, "RED": 1, "BLUE": 2})
INNER = Message("test.Inner", (Field(1, "some_text", Kind.STRING), Field(2, "more_numbers", Kind.INT32, repeated=True)))
SAMPLE = Message(
    "test.Sample",
    (
        Field(12, "late_number", Kind.INT32),
        Field(1, "some_text", Kind.STRING),
        Field(2, "a_flag", Kind.BOOL),
        Field(3, "count", Kind.INT32, presence=True),
        Field(4, "big_counts", Kind.INT64, repeated=True),
        Field(5, "ratio", Kind.FLOAT),
        Field(6, "precise", Kind.DOUBLE),
        Field(7, "data", Kind.BYTES),
        Field(8, "colour", COLOUR),
        Field(9, "when", Kind.TIMESTAMP),
        Field(10, "inner", INNER),
        Field(11, "inners", INNER, repeated=True),
        Field(13, "left", Kind.STRING, oneof="side"),
        Field(14, "right", INNER, oneof="side"),
        Field(15, "shown_only", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(16, "taken_only", Kind.STRING, rule=Rule.INPUT_ONLY),
        Field(17, "free", Kind.JSON),
        Field(18, "packed", Kind.ANY),
        Field(19, "odd_name", Kind.STRING, json_name="_oddName"),
        Field(20, "mask", Kind.FIELD_MASK),
    ),
)


@pytest.fixture
def sample():
    return SAMPLE


@pytest.fixture
def inner():
    return INNER
