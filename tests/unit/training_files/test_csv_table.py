"""CSV rows know their lines, and one that breaks the rules does not take others with it."""

import pytest

from tuningfork.training_files import csv_table


def rows(text):
    return [(row.place, dict(row.cells)) for row in csv_table.read(text.encode()).rows]


def faults(text):
    return [(fault.place, fault.problem) for fault in csv_table.read(text.encode()).faults]


def test_a_quoted_cell_may_span_lines_and_the_row_is_named_after_its_first():
    assert rows('a,b\n"1\n\n2",3\n4,5\n') == [
        ("line 2", {"a": "1\n\n2", "b": "3"}),
        ("line 5", {"a": "4", "b": "5"}),
    ]


def test_empty_lines_and_rows_of_empty_cells_are_passed_over_also_before_the_header():
    assert rows("\n,,\na,b\n\n1,2\n,\n 3,4\n") == [
        ("line 5", {"a": "1", "b": "2"}),
        ("line 7", {"a": " 3", "b": "4"}),
    ]


def test_cells_under_no_name_are_left_out_and_names_are_trimmed():
    assert rows(",a, b \n7,1,2\n") == [("line 2", {"a": "1", "b": "2"})]


def test_empty_cells_behind_the_last_column_are_no_fault():
    assert rows("a,b\n1,2,,\n") == [("line 2", {"a": "1", "b": "2"})]


def test_a_wrong_row_is_a_fault_and_the_others_are_read():
    text = 'a,b\n1,2\n"1"x,2\n3,4,5\n6,7\n'

    assert [place for place, _ in faults(text)] == ["line 3", "line 4"]
    assert [place for place, _ in rows(text)] == ["line 2", "line 5"]


def test_a_quote_that_is_never_closed_is_told_where_it_was_opened():
    assert faults('a,b\n1,2\n"3,4\n5,6\n') == [
        ("line 3", "not valid CSV: a cell is opened with a double quote and never closed.")
    ]


@pytest.mark.parametrize("characters", [131_073, 4_000_000])
def test_a_cell_may_be_longer_than_the_csv_module_usually_allows(characters):
    assert rows(f"a,b\n{'x' * characters},y\n") == [("line 2", {"a": "x" * characters, "b": "y"})]


def test_two_columns_of_one_name_are_ambiguous():
    assert csv_table.read(b"a,b,a\n1,2,3\n").ambiguous == {"a"}


def test_a_file_of_broken_lines_alone_has_no_columns_but_faults():
    table = csv_table.read(b'"1"x,2\n"3"y,4\n')

    assert table.columns == ()
    assert [fault.place for fault in table.faults] == ["line 1", "line 2"]
