"""The lenient parser alone: what it forgives, what it says when it does not, and what it costs."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exploring import often
from speed import slowness
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.proto_json.lenient import MAX_DEPTH, MAX_NUMBER_CHARACTERS, LenientParser, RepeatedKeys

PREFIX = "Invalid JSON payload received. "


def parse(text):
    return LenientParser(text).document()


def message_of_any(text):
    """What is said of a text; nothing, if it can be parsed."""
    try:
        parse(text)
    except InvalidArgument as error:
        return error.message
    return PREFIX


def refusal(text):
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    assert [violation.description for violation in caught.value.violations] == [caught.value.message]
    return caught.value.message.removeprefix(PREFIX)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ("[1, 2,]", [1, 2]),
        ("[1,,2]", [1, None, 2]),
        ("[,]", [None]),
        ("[,1]", [None, 1]),
        ("[1, , , 2]", [1, None, None, 2]),
        ('{"a":}', {"a": None}),
        ('{"a":,"b":2}', {"a": None, "b": 2}),
        ("{'a': 'it is \"so\"'}", {"a": 'it is "so"'}),
        ('"it\'s"', "it's"),
        ("{a_1: true, $b: false, null: null}", {"a_1": True, "$b": False, "null": None}),
        ('"two\nlines\tand a tab"', "two\nlines\tand a tab"),
        (r'"\u00e9\n\/\\\"\b\f\r\t"', 'é\n/\\"\b\f\r\t'),
        (r"'\'\v'", "'\v"),
        (r'"\ud83d\ude00"', "😀"),
        (" \t\r\n1 ", 1),
        ("-0", 0),
        ("-12.5e+2", -1250.0),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_more_than_the_standard_is_understood(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{,}", "Expected an object key or }."),
        ('{"a":1,,}', "Expected an object key or }."),
        ("{1:2}", "Expected an object key or }."),
        ('{"a" 1}', "Expected : between key:value pair."),
        ('{"a":1 "b":2}', "Expected , or } after key:value pair."),
        ('{"a":1]', "Expected , or } after key:value pair."),
        ("[1 2]", "Expected , or ] after array value."),
        ("[&]", "Expected a value or ] within an array."),
        ('{"a":&}', "Expected a value."),
        ('{"a":yes}', "Unexpected token."),
        ('{"a":NaN}', "Unexpected token."),
        ('{"a":]}', "Unexpected token."),
        ("[}", "Unexpected token."),
        ('{"a":}]', "Parsing terminated before end of input."),
        ("1 2", "Parsing terminated before end of input."),
        ("[01]", "Octal/hex numbers are not valid JSON values."),
        ("[-01]", "Octal/hex numbers are not valid JSON values."),
        ("[0x1F]", "Octal/hex numbers are not valid JSON values."),
        ("[-]", "Unable to parse number."),
        ("[1.]", "Unable to parse number."),
        ("[1e]", "Unable to parse number."),
        ("[1abc]", "Unable to parse number."),
        ("[1e999]", "Unable to parse number."),
        ("[" + "1" * (MAX_NUMBER_CHARACTERS + 1) + "]", "Unable to parse number."),
        ("[1 /* one */]", "Expected , or ] after array value."),
        ("// no\n1", "Expected a value."),
        (r'"\x41"', "Invalid escape sequence."),
        (r'"\u12"', "Illegal hex string."),
        (r'"\ud800"', "Invalid unicode code point: a high surrogate without a low one behind it."),
        (r'"\udc00"', "Invalid unicode code point: a low surrogate without a high one before it."),
        ('{"a":', "Unexpected end of string. Expected a value."),
        ('{"a"', "Unexpected end of string. Expected : between key:value pair."),
        ('{"a":1', "Unexpected end of string. Expected , or } after key:value pair."),
        ("{", "Unexpected end of string. Expected an object key or }."),
        ("[", "Unexpected end of string. Expected a value or ] within an array."),
        ("[1", "Unexpected end of string. Expected , or ] after array value."),
        ('["a', "Unexpected end of string. Closing quote expected in string."),
        ("", "Unexpected end of string. Expected a value."),
    ],
)
def test_what_is_beyond_forgiveness_has_a_sentence(text, sentence):
    first_line = refusal(text).split("\n")[0]

    assert first_line == sentence


def test_a_fault_is_shown_with_twenty_characters_on_either_side_and_a_caret_below():
    text = '{"display_name": "number generator model" "base_model": "models/gemini-1.0-pro-001"}'

    assert refusal(text).split("\n") == [
        "Expected , or } after key:value pair.",
        'ber generator model" "base_model": "model'[-40:],
        " " * 20 + "^",
    ]


@pytest.mark.parametrize(("opening", "closing", "key"), [("[", "]", ""), ('{"k":', "}", "k")])
def test_nesting_is_bounded(opening, closing, key):
    deepest = opening * MAX_DEPTH + "1" + closing * MAX_DEPTH

    assert parse(deepest) == json.loads(deepest)
    assert refusal(opening + deepest + closing) == f"Message too deep. Max recursion depth reached for key '{key}'"


def test_a_key_that_comes_twice_is_remembered():
    parsed = parse('{"a": 1, "b": 2, "a": 3}')

    assert parsed == {"a": 3, "b": 2}
    assert isinstance(parsed, RepeatedKeys)
    assert parsed.repeated == {"a"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 0, 3]))
def test_standard_json_means_what_it_always_means(value, ascii_only, indent):
    assert parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


MUTILATED = st.lists(
    st.sampled_from(
        ['"', "'", "\\", "{", "}", "[", "]", ",", ":", "\\u", "d800", "-", "0", "1e", ".", "true", "nul", " ", "é"]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=often(500))
@given(st.text() | MUTILATED)
def test_any_text_is_parsed_or_refused_in_our_own_words(text):
    message = message_of_any(text)

    assert message.startswith(PREFIX)
    assert len(message) < 300


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * MEGABYTE,
        '{"a":' * (MEGABYTE // 5),
        "[" + "," * (MEGABYTE - 2) + "]",
        "[" + ", " * (MEGABYTE // 2 - 1) + "]",
        '"' + "a" * MEGABYTE,
        '"' + "\\" * MEGABYTE,
        "'" + r"\'" * (MEGABYTE // 2) + "'",
        "[" + "''," * (MEGABYTE // 3) + "]",
        "{" + "a:1," * (MEGABYTE // 4) + "}",
        "1" * MEGABYTE,
        "[1" + "e1" * (MEGABYTE // 2),
        " " * MEGABYTE + "x",
        "{" + "a" * MEGABYTE,
        '"' + r"\ud83d\ude00" * (MEGABYTE // 12) + '"',
        "[" + '{ "text_input": "1", "output": "2", },' * (MEGABYTE // 38) + "]",
    ],
    ids=range(15),
)
def test_the_time_is_linear_also_for_hostile_texts(text):
    began = time.process_time()
    message = message_of_any(text)
    spent_seconds = time.process_time() - began

    assert len(message) < 300
    # About 0.1 s a megabyte, 0.9 s for the worst; quadratic time would be minutes.
    assert spent_seconds < 10 * slowness()
