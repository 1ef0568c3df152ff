"""Bytes to values and back: the quick way and the lenient way agree, and answers survive their clients."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exploring import often
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.proto_json.lenient import MAX_DEPTH, LenientParser, RepeatedKeys
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES, read, write


def outcome(parse):
    try:
        value = parse()
    except InvalidArgument as error:
        return error.message
    return value, type(value)


@pytest.mark.parametrize("body", [b"", b"  \r\n\t "])
def test_an_empty_body_is_an_empty_message(body):
    assert read(body) == {}


def test_a_byte_order_mark_is_passed_over():
    assert read('\ufeff{"a": "é"}'.encode()) == {"a": "é"}


def test_a_body_that_is_not_utf8_is_refused_with_the_place():
    with pytest.raises(InvalidArgument, match="byte 7 is 0xe9"):
        read('{"a": "é"}'.encode("latin-1"))


def test_a_body_over_the_limit_is_refused_with_the_limit():
    assert read(b" " * (MAX_PAYLOAD_BYTES - 1) + b"1") == 1
    with pytest.raises(InvalidArgument, match=f"exceeds the limit: {MAX_PAYLOAD_BYTES} bytes"):
        read(b" " * MAX_PAYLOAD_BYTES + b"1")


STANDARD_BUT_SUBTLE = [
    '{"a": 1, "a": 2}',
    '{"a": "\\ud800"}',
    '{"\\udc00": 1}',
    '"\\ud83d\\ude00"',
    '["\\ud83d", "\\ude00"]',
    "NaN",
    "[Infinity, -Infinity]",
    "1e999",
    "-1e-999",
    "[" * MAX_DEPTH + "]" * MAX_DEPTH,
    "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    '{"k":' * 100_000 + "1" + "}" * 100_000,
    "1" * 1_000,
    "1" * 1_001,
    "0." + "1" * 1_000,
    '"a\nb"',
    "-0",
    "-0.0",
    "1E5",
    "00",
    "\x0b1",
    '"\\/"',
    '"\x7f\u2028"',
]


@pytest.mark.parametrize("text", STANDARD_BUT_SUBTLE, ids=range(len(STANDARD_BUT_SUBTLE)))
def test_both_parsers_agree_where_standards_leave_room(text):
    assert outcome(lambda: read(text.encode())) == outcome(lambda: LenientParser(text).document())


PIECES = [
    '"',
    "a",
    "\\u00e9",
    "\\ud800",
    "\\udc00",
    "\\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "1",
    "-",
    "0",
    ".5",
    "e9",
    "true",
    "null",
    " ",
]


@settings(max_examples=often(500))
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=30).map("".join).filter(str.strip))
@example("[1,]")
def test_both_parsers_agree_on_anything(text):
    assert outcome(lambda: read(text.encode())) == outcome(lambda: LenientParser(text).document())


@settings(max_examples=often(300))
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_our_own_words(body):
    said = outcome(lambda: read(body))

    assert isinstance(said, tuple) or said.startswith("Invalid JSON payload received. ")


def test_a_key_given_twice_is_remembered_on_the_quick_way_too():
    assert isinstance(read(b'{"a": {"b": 1, "b": 2}}')["a"], RepeatedKeys)


def test_answers_are_indented_by_two_spaces_one_field_a_line():
    written = write({"name": "é", "list": [1, {"a": 2}], "empty": {}})

    assert written == '{\n  "name": "é",\n  "list": [\n    1,\n    {\n      "a": 2\n    }\n  ],\n  "empty": {}\n}'


def test_an_answer_can_be_one_line():
    assert write({"a": [1, 2], "b": "c"}, pretty=False) == '{"a":[1,2],"b":"c"}'


@given(st.text())
def test_no_client_finds_a_line_end_inside_a_compact_answer(text):
    written = write({"text": text}, pretty=False)

    assert len(written.splitlines()) == 1
    assert json.loads(written) == {"text": text}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON_VALUES)
def test_an_indented_value_is_what_the_standard_library_makes_of_it(value):
    text = json.dumps(value, indent=2, ensure_ascii=False)
    for character in "\x85\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")

    assert write(value) == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("pretty", [False, True])
def test_what_json_has_no_number_for_is_never_written(number, pretty):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write({"a": [number]}, pretty=pretty)
