"""JSON values to fields, and every fault by its path."""

import math
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.gemini.tuning_messages import TUNED_MODEL
from tuningfork.wire.google.proto_json.decode import MAX_REPORTED_FAULTS, decode, decode_query
from tuningfork.wire.google.proto_json.text import read

UNKNOWN = "Invalid JSON payload received. Unknown name"


def refusal(message, value, path=""):
    with pytest.raises(InvalidArgument) as caught:
        decode(message, value, path)
    return caught.value


@pytest.mark.parametrize(
    ("key", "given_value", "name", "value"),
    [
        ("someText", "x", "some_text", "x"),
        ("some_text", "", "some_text", ""),
        ("_oddName", "x", "odd_name", "x"),
        ("odd_name", "x", "odd_name", "x"),
        ("aFlag", True, "a_flag", True),
        ("aFlag", "false", "a_flag", False),
        ("count", 5, "count", 5),
        ("count", "5", "count", 5),
        ("count", "-5", "count", -5),
        ("count", 5.0, "count", 5),
        ("count", "5.0", "count", 5),
        ("count", -(2**31), "count", -(2**31)),
        ("bigCounts", ["9223372036854775807", 1], "big_counts", [2**63 - 1, 1]),
        ("ratio", 0.001, "ratio", 0.001),
        ("ratio", 1, "ratio", 1.0),
        ("ratio", "2.5e-1", "ratio", 0.25),
        ("ratio", "-Infinity", "ratio", -math.inf),
        ("precise", 1e300, "precise", 1e300),
        ("data", "aGk_-w==", "data", b"hi?\xfb"),
        ("data", "aGk/+w", "data", b"hi?\xfb"),
        ("colour", "RED", "colour", "RED"),
        ("colour", "blue", "colour", "BLUE"),
        ("colour", 2, "colour", "BLUE"),
        ("colour", "2", "colour", "BLUE"),
        ("when", "2024-03-14T16:11:23+01:00", "when", datetime(2024, 3, 14, 15, 11, 23, tzinfo=UTC)),
        ("inner", {"some_text": "x"}, "inner", {"some_text": "x"}),
        ("inners", [{}, {"moreNumbers": [1]}], "inners", [{}, {"more_numbers": [1]}]),
        ("inners", {"someText": "alone"}, "inners", [{"some_text": "alone"}]),
        ("inners", [None, {}, None], "inners", [{}]),
        ("free", {"any": ["thing", None]}, "free", {"any": ["thing", None]}),
        ("free", [1], "free", [1]),
        ("takenOnly", "x", "taken_only", "x"),
    ],
)
def test_both_spellings_and_every_form_of_a_value_are_taken(sample, key, given_value, name, value):
    assert decode(sample, {key: given_value}) == {name: value}


def test_not_a_number_is_a_float(sample):
    assert math.isnan(decode(sample, {"ratio": "NaN"})["ratio"])


def test_null_means_unset(sample):
    assert decode(sample, {"someText": None, "inner": None, "count": None, "left": None, "right": {}}) == {"right": {}}


@pytest.mark.parametrize("value", ["x", 7, {"deep": 1}, [1]])
def test_output_only_fields_are_ignored_whatever_they_hold(sample, value):
    assert decode(sample, {"shownOnly": value}) == {}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("count", "abc", "Invalid value at 'root.count' (TYPE_INT32), \"abc\""),
        ("count", 1.5, "Invalid value at 'root.count' (TYPE_INT32), 1.5"),
        ("count", True, "Invalid value at 'root.count' (TYPE_INT32), true"),
        ("count", 2**31, "Invalid value at 'root.count' (TYPE_INT32), 2147483648"),
        ("count", "1_000", "Invalid value at 'root.count' (TYPE_INT32), \"1_000\""),
        ("count", " 5", "Invalid value at 'root.count' (TYPE_INT32), \" 5\""),
        ("count", "\u0665", "Invalid value at 'root.count' (TYPE_INT32), \"\u0665\""),
        ("count", {}, "Invalid value at 'root.count' (TYPE_INT32), Starting an object on a scalar field"),
        ("ratio", "abc", "Invalid value at 'root.ratio' (TYPE_FLOAT), \"abc\""),
        ("ratio", 1e39, "Invalid value at 'root.ratio' (TYPE_FLOAT), 1e+39"),
        ("ratio", "1e999", "Invalid value at 'root.ratio' (TYPE_FLOAT), \"1e999\""),
        ("ratio", False, "Invalid value at 'root.ratio' (TYPE_FLOAT), false"),
        ("precise", "nan", "Invalid value at 'root.precise' (TYPE_DOUBLE), \"nan\""),
        ("someText", 123, "Invalid value at 'root.some_text' (TYPE_STRING), 123"),
        ("aFlag", "yes", "Invalid value at 'root.a_flag' (TYPE_BOOL), \"yes\""),
        ("aFlag", 1, "Invalid value at 'root.a_flag' (TYPE_BOOL), 1"),
        ("data", "a", "Invalid value at 'root.data' (TYPE_BYTES), Base64 decoding failed for \"a\""),
        ("data", "a b=", "Invalid value at 'root.data' (TYPE_BYTES), Base64 decoding failed for \"a b=\""),
        ("colour", "PINK", "Invalid value at 'root.colour' (type.googleapis.com/test.Colour), \"PINK\""),
        ("colour", 9, "Invalid value at 'root.colour' (type.googleapis.com/test.Colour), 9"),
        ("inner", "x", "Invalid value at 'root.inner' (type.googleapis.com/test.Inner), \"x\""),
        ("inners", [{}, 3], "Invalid value at 'root.inners[1]' (type.googleapis.com/test.Inner), 3"),
        ("bigCounts", [1, "x"], "Invalid value at 'root.big_counts[1]' (TYPE_INT64), \"x\""),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_path(sample, key, value, message):
    error = refusal(sample, {key: value}, "root")

    assert error.message == message
    assert [violation.description for violation in error.violations] == [message]
    assert message.startswith(f"Invalid value at '{error.violations[0].field}' ")


def test_a_time_that_is_none_says_what_a_time_is(sample):
    error = refusal(sample, {"when": "noon"})

    assert error.message.startswith("Invalid value at 'when' (type.googleapis.com/google.protobuf.Timestamp), ")
    assert "RFC 3339" in error.message


@pytest.mark.parametrize(
    ("value", "path", "message", "field"),
    [
        ({"foo": 1}, "", 'Invalid JSON payload received. Unknown name "foo": Cannot find field.', ""),
        ({"foo": 1}, "a.b", "Invalid JSON payload received. Unknown name \"foo\" at 'a.b': Cannot find field.", "a.b"),
        (
            {"inners": [{}, {"foo": 1}]},
            "",
            "Invalid JSON payload received. Unknown name \"foo\" at 'inners[1]': Cannot find field.",
            "inners[1]",
        ),
        (
            {"count": [1]},
            "a",
            f"{UNKNOWN} \"count\" at 'a': Proto field is not repeating, cannot start list.",
            "a",
        ),
        ([], "a", 'Invalid JSON payload received. Unknown name "": Root element must be a message.', ""),
    ],
)
def test_names_that_mean_nothing_are_unknown(sample, value, path, message, field):
    error = refusal(sample, value, path)

    assert error.message == message
    assert error.violations == (FieldViolation(field=field, description=message),)


def test_two_members_of_a_oneof_exclude_each_other(sample):
    error = refusal(sample, {"left": "x", "right": {}}, "root")

    assert error.message == "Invalid value at 'root' (oneof), oneof field 'side' is already set. Cannot set 'right'"


@pytest.mark.parametrize("text", ['{"someText": "a", "some_text": "b"}', '{"someText": "a", "someText": "b"}'])
def test_a_field_given_twice_is_refused_rather_than_half_lost(sample, text):
    error = refusal(sample, read(text.encode()), "root")

    assert "at 'root': The field is given more than once" in error.message


def test_every_fault_is_reported_in_one_answer(sample):
    error = refusal(sample, {"foo": 1, "count": "x", "inner": {"bar": 2}})

    assert error.message == (
        'Invalid JSON payload received. Unknown name "foo": Cannot find field.\n'
        "Invalid value at 'count' (TYPE_INT32), \"x\"\n"
        "Invalid JSON payload received. Unknown name \"bar\" at 'inner': Cannot find field."
    )
    assert [violation.field for violation in error.violations] == ["", "count", "inner"]


def test_a_flood_of_faults_is_counted(sample):
    error = refusal(sample, {f"unknown{number}": 1 for number in range(MAX_REPORTED_FAULTS + 23)})

    assert len(error.violations) == MAX_REPORTED_FAULTS + 1
    assert error.message.endswith("\nand 23 more faults of this kind")


def test_a_long_value_is_echoed_short(sample):
    error = refusal(sample, {"count": "x" * 10_000, "k" * 10_000: 1})

    assert len(error.message) < 500
    assert '"...' not in error.message
    assert 'x..."' in error.message


def test_query_parameters_are_fields_in_either_spelling(sample):
    assert decode_query(sample, {"someText": "5", "count": "7", "a_flag": "true"}) == {
        "some_text": "5",
        "count": 7,
        "a_flag": True,
    }


def test_a_query_parameter_that_is_no_field_cannot_be_bound(sample):
    with pytest.raises(InvalidArgument) as caught:
        decode_query(sample, {"foo": "1"})

    assert caught.value.message == (
        'Invalid JSON payload received. Unknown name "foo": Cannot bind query parameter. '
        "Field 'foo' could not be found in request message."
    )
    assert caught.value.violations[0].field == ""


def test_a_query_parameter_of_the_wrong_type_is_named(sample):
    with pytest.raises(InvalidArgument, match=r"^Invalid value at 'count' \(TYPE_INT32\), \"abc\"$"):
        decode_query(sample, {"count": "abc"})


@pytest.mark.parametrize(
    ("text", "paths"), [("", ()), ("a", ("a",)), ("displayName, top_p,", ("displayName", "top_p")), ("*", ("*",))]
)
def test_a_mask_is_its_paths_as_they_are_spelled(sample, text, paths):
    assert decode_query(sample, {"mask": text}) == {"mask": paths}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["5", "NaN", "1e9", "RED", "2024-01-01T00:00:00Z", "aGk="]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from([*sorted(TUNED_MODEL.by_key), "examples", "x"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON_VALUES)
def test_any_value_is_decoded_or_refused_in_our_own_words(value):
    with suppress(InvalidArgument):
        decode(TUNED_MODEL, value)
