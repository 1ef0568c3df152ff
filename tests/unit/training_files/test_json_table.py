"""JSON and JSONL in each of their shapes become the same table."""

import pytest

from tuningfork.training_files import json_table
from tuningfork.training_files.table import NoText, Unreadable


def cells(table):
    return [dict(row.cells) for row in table.rows]


@pytest.mark.parametrize(
    "text",
    [
        '[{"text_input": "1", "output": "2"}, {"output": "4", "text_input": "3"}]',
        '{"text_input": ["1", "3"], "output": ["2", "4"]}',
        '{"text_input": ["1", "3"], "output": ["2", "4"], "made by": "hand"}',
        '[["1", "2"], ["3", "4"]]',
        '[["1", "2"], {"text_input": "3", "output": "4"}]',
        "[[1, 2], [3, 4]]",
    ],
)
def test_every_shape_gives_the_same_table(text):
    table = json_table.read(text.encode())

    assert sorted(table.columns) == ["output", "text_input"]
    assert cells(table) == [{"text_input": "1", "output": "2"}, {"text_input": "3", "output": "4"}]
    assert [row.place for row in table.rows] == ["row 1", "row 2"]


def test_columns_are_all_that_any_record_has_in_the_order_they_appear():
    assert json_table.read(b'[{"b": "1"}, {"a": "2", "b": "3"}, {"c": null, "a": "x"}]').columns == ("b", "a", "c")


def test_jsonl_lines_may_be_objects_or_pairs_and_hold_line_separators_of_unicode():
    table = json_table.read('{"text_input": "a\u2028b", "output": "c\x85d"}\r\n\r\n["e", "f"]'.encode())

    assert cells(table) == [{"text_input": "a\u2028b", "output": "c\x85d"}, {"text_input": "e", "output": "f"}]
    assert [row.place for row in table.rows] == ["line 1", "line 3"]


def test_a_jsonl_line_that_is_no_record_does_not_take_the_others_with_it():
    table = json_table.read(b'{"a": "1"}\n{"a":\n7\n"a"\n{"a": "2"}\n')

    assert cells(table) == [{"a": "1"}, {"a": "2"}]
    assert [(fault.place, fault.problem.partition(";")[0].partition(":")[0]) for fault in table.faults] == [
        ("line 2", "not valid JSON"),
        ("line 3", "the number 7"),
        ("line 4", "a string"),
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("true", "true or false"), ("[]", "a list of 0"), ("{}", "an object"), ("Infinity", "the number Infinity")],
)
def test_what_is_no_text_is_kept_as_what_it_is(value, kind):
    (row,) = json_table.read(f'[{{"a": {value}}}]'.encode()).rows

    assert isinstance(row.cells["a"], NoText)
    assert row.cells["a"].kind == kind


@pytest.mark.parametrize("number", ["0", "-0.0", "1.50", "1e400", "123456789012345678901234567890"])
def test_numbers_are_the_text_that_the_file_has(number):
    (row,) = json_table.read(f"[[{number}, 1]]".encode()).rows

    assert row.cells["text_input"] == number


def test_numbers_of_a_program_are_shown_without_the_dust_of_binary_arithmetic():
    (row,) = json_table.of_objects([(0.1 + 0.2, 3.0)]).rows

    assert dict(row.cells) == {"text_input": "0.3", "output": "3"}


def test_numbers_of_a_program_that_are_not_finite_are_no_text():
    (row,) = json_table.of_objects([(float("nan"), 3)]).rows

    assert isinstance(row.cells["text_input"], NoText)


@pytest.mark.parametrize("content", [3, None, "text", b""])
def test_a_program_must_give_records_or_columns(content):
    with pytest.raises(Unreadable, match=r"a list of objects|it is empty") as caught:
        json_table.of_objects(content if content != b"" else {})

    assert caught.value.faults[0].place == "at its top"
