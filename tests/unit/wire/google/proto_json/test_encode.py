"""Fields to the JSON that Google's services print."""

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.encode import Typed, encode, shortest_double, shortest_float
from tuningfork.wire.google.proto_json.text import write


def test_fields_come_in_the_order_of_their_numbers_under_camel_case_names(sample):
    fields = {"late_number": 12, "some_text": "x", "odd_name": "y", "inner": {"more_numbers": [1], "some_text": "z"}}

    assert write(encode(sample, fields), pretty=False) == (
        '{"someText":"x","inner":{"someText":"z","moreNumbers":[1]},"lateNumber":12,"_oddName":"y"}'
    )


def test_defaults_are_left_out(sample):
    defaults = {
        "late_number": 0,
        "some_text": "",
        "a_flag": False,
        "big_counts": [],
        "ratio": 0.0,
        "data": b"",
        "colour": "COLOUR_UNSPECIFIED",
        "when": None,
        "inners": (),
    }

    assert encode(sample, defaults) == {}


def test_what_has_presence_is_printed_also_when_it_is_zero(sample):
    assert encode(sample, {"count": 0, "left": "", "inner": {}}) == {"count": 0, "inner": {}, "left": ""}


def test_each_kind_has_its_form(sample):
    fields = {
        "big_counts": [123, 2**63 - 1],
        "ratio": 5.2631578947,
        "precise": 1 / 3,
        "data": b"hi?\xfb",
        "colour": "BLUE",
        "when": datetime(2024, 10, 21, 21, 42, 55, 748537, tzinfo=UTC),
        "a_flag": True,
        "free": {"any": 1},
    }

    assert encode(sample, fields) == {
        "aFlag": True,
        "bigCounts": ["123", "9223372036854775807"],
        "ratio": 5.263158,
        "precise": 0.3333333333333333,
        "data": "aGk/+w==",
        "colour": "BLUE",
        "when": "2024-10-21T21:42:55.748537Z",
        "free": {"any": 1},
    }


def test_what_is_input_only_is_never_printed(sample):
    assert encode(sample, {"taken_only": "secret", "shown_only": "x"}) == {"shownOnly": "x"}


def test_an_any_says_first_what_it_holds(sample, inner):
    printed = encode(sample, {"packed": Typed(inner, {"some_text": "x"})})

    assert write(printed, pretty=False) == '{"packed":{"@type":"type.googleapis.com/test.Inner","someText":"x"}}'


def test_enums_can_be_numbers_also_inside_an_any(sample):
    fields = {"colour": "RED", "packed": Typed(sample, {"colour": "BLUE"})}

    assert encode(sample, fields, enums_as_numbers=True) == {
        "colour": 1,
        "packed": {"@type": "type.googleapis.com/test.Sample", "colour": 2},
    }


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (1.0, "1"),
        (0.95, "0.95"),
        (0.001, "0.001"),
        (1.402067, "1.402067"),
        (100 / 19, "5.263158"),
        (100.0, "100"),
        (0.1, "0.1"),
        (1 / 3, "0.33333334"),
        (7.26, "7.26"),
        (16777216.0, "16777216"),
        (1e-5, "1e-05"),
        (-2.5, "-2.5"),
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (1e39, '"Infinity"'),
        (3.4028234663852886e38, "3.4028235e+38"),
    ],
)
def test_a_float_is_the_shortest_decimal_that_gives_the_same_float32(number, printed):
    assert write(shortest_float(number)) == printed


def float32(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


@given(
    st.floats(
        width=32,
        allow_nan=False,
        allow_infinity=False,
        allow_subnormal=False,
        max_value=2.0**127,
        min_value=-(2.0**127),
    )
)
def test_every_float32_survives_the_way_there_and_back_in_as_few_digits_as_do(number):
    printed = shortest_float(number)

    fewest = next(digits for digits in range(1, 10) if float32(float(f"{number:.{digits}g}")) == number)
    assert float32(printed) == number
    assert len(Decimal(str(printed)).normalize().as_tuple().digits) <= fewest


@pytest.mark.parametrize(("number", "printed"), [(1.0, "1"), (0.1, "0.1"), (1e300, "1e+300"), (math.nan, '"NaN"')])
def test_a_double_is_the_shortest_decimal_too(number, printed):
    assert write(shortest_double(number)) == printed


def test_what_is_printed_can_be_read_back(sample):
    fields = {
        "some_text": "x",
        "count": 0,
        "big_counts": [1, 2],
        "ratio": 0.25,
        "data": b"hi",
        "colour": "RED",
        "when": datetime(2024, 10, 21, 21, 42, 55, 748537, tzinfo=UTC),
        "inner": {"more_numbers": [1, 2]},
        "inners": [{}, {"some_text": "y"}],
        "right": {"some_text": "z"},
    }

    for as_numbers in (False, True):
        assert decode(sample, encode(sample, fields, enums_as_numbers=as_numbers)) == fields
