"""Parquet files with the types that people have, and as attackers make them."""

import datetime as dt
import random
import sys
from decimal import Decimal

import pyarrow as pa
import pytest

from tuningfork.training_files import parquet_table
from tuningfork.training_files.table import NoText, Unreadable


def moment(*time):
    return dt.datetime(2024, 3, 14, *time)  # noqa: DTZ001 - columns without a zone are what people have


def column(content):
    return [row.cells["a"] for row in parquet_table.read(content).rows]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array(["x", "七"]), ["x", "七"]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
        (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([1, -2], pa.int8()), ["1", "-2"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([1.0, 0.1 + 0.2, 123456789012.0]), ["1", "0.3", "123456789012"]),
        (pa.array([0.1, 3.3], pa.float32()), ["0.1", "3.3"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([dt.date(2024, 3, 14)]), ["2024-03-14"]),
        (pa.array([moment(15, 9, 41)]), ["2024-03-14 15:09:41"]),
        (pa.array([moment(15, 9, 41, 500_000)]), ["2024-03-14 15:09:41.500000"]),
        (pa.array([moment()], pa.timestamp("ns", "UTC")), ["2024-03-14 00:00:00Z"]),
        (pa.array([dt.time(15, 9)]), ["15:09:00"]),
    ],
)
def test_text_numbers_and_times_become_text(parquet_file, values, texts):
    assert column(parquet_file({"a": values})) == texts


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([b"\xff"]), "a value of type binary"),
        (pa.array([True]), "a value of type bool"),
        (pa.array([[1]]), "a value of type list<element: int64>"),
        (pa.array([{"x": 1}]), "a value of type struct<x: int64>"),
        (pa.array([float("nan")]), "the number nan"),
    ],
)
def test_what_is_no_text_is_kept_as_what_it_is(parquet_file, values, kind):
    (cell,) = column(parquet_file({"a": values}))

    assert isinstance(cell, NoText)
    assert cell.kind == kind


def test_rows_are_numbered_and_empty_ones_passed_over(parquet_file):
    content = parquet_file({"a": ["x", None, None, "y"] * 50, "b": [None, 1, None, None] * 50})

    table = parquet_table.read(content)

    assert [row.place for row in table.rows][-3:] == ["row 197", "row 198", "row 200"]
    assert dict(table.rows[1].cells) == {"a": None, "b": "1"}


def test_row_groups_are_read_one_after_the_other(parquet_file):
    texts = [f"text {number}" for number in range(1_000)]

    assert column(parquet_file({"a": texts}, row_group_size=7)) == texts


def test_without_pyarrow_the_error_says_how_to_get_it(parquet_file, monkeypatch):
    content = parquet_file({"a": ["x"]})
    # What the interpreter itself does where a module is not there.
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")

    with pytest.raises(Unreadable, match="needs pyarrow, which is not installed") as caught:
        parquet_table.read(content)

    assert caught.value.faults[0].advice == 'Install it with: pip install "tuningfork[parquet]"'


# Attacks


def test_a_file_that_unpacks_to_very_much_is_refused_before_it_is(parquet_file):
    bomb = parquet_file({"a": ["x" * 50_000_000, "y" * 50_000_000]}, compression="zstd", use_dictionary=False)
    assert len(bomb) < 100_000

    with pytest.raises(Unreadable, match=r"it unpacks to 2 rows and 100,000,\d\d\d bytes"):
        parquet_table.read(bomb)


def test_one_long_text_that_is_repeated_is_not_unpacked_again_and_again(parquet_file):
    bomb = parquet_file({"a": pa.array(["x" * 1_000_000] * 1_000).dictionary_encode()})
    assert len(bomb) < 2_500_000

    with pytest.raises(Unreadable, match=r"it unpacks to more than 1\d\d rows"):
        parquet_table.read(bomb)


def test_very_many_rows_are_refused(parquet_file):
    bomb = parquet_file({"a": pa.array(["x"] * 1_000_001).dictionary_encode()})

    with pytest.raises(Unreadable, match="it unpacks to 1,000,001 rows"):
        parquet_table.read(bomb)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + bytes(100) + b"PAR1", b"text"])
def test_what_is_no_parquet_is_told_so(content):
    with pytest.raises(Unreadable, match="not a Parquet file, or a damaged one"):
        parquet_table.read(content)


def test_damage_anywhere_is_an_error_or_nothing_but_never_a_surprise(parquet_file):
    content = parquet_file({"a": ["x", "y"], "b": [1.5, None], "c": pa.array(["u", "v"]).dictionary_encode()})
    draw = random.Random(7)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 2, 8])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            parquet_table.read(bytes(damaged))
        except Unreadable:
            refused += 1
    assert refused > 100
