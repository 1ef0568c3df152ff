"""Uploaded files are read in a process of their own, which ends at its limits and takes nothing else with it."""

import gzip

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.staged_dataset import ColumnRole, RowsKind
from tuningfork.domain.staged_row_lines import row_of
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.local import environment
from tuningfork.execution.local.file_readers import LocalFileReaders


@pytest.fixture
def readers():
    return LocalFileReaders(environment.of_worker(1, "warning"))


def test_a_file_is_read_in_a_child_process(readers, tmp_path):
    file, to = tmp_path / "upload", tmp_path / "rows"
    file.write_bytes(gzip.compress(b"id,prompt,completion\n1,a,b\n2,c,d\n"))

    read = readers.read(file, "pairs.csv.gz", to)

    assert (read.format, read.kind, read.row_count) == ("CSV", RowsKind.PAIRS, 2)
    assert [column.role for column in read.columns] == [ColumnRole.IGNORE, ColumnRole.INPUT, ColumnRole.OUTPUT]
    assert [row_of(n, line).cells for n, line in enumerate(to.read_bytes().splitlines())] == [
        ("1", "a", "b"),
        ("2", "c", "d"),
    ]


def test_what_cannot_be_read_is_told_and_the_next_file_is_read(readers, tmp_path):
    file = tmp_path / "upload"
    file.write_bytes(b"SQLite format 3\0")
    with pytest.raises(InvalidArgument, match="an SQLite database"):
        readers.read(file, "a.csv", tmp_path / "rows")
    file.write_bytes(b"text_input,output\n")
    assert readers.read(file, "a.csv", tmp_path / "more").row_count == 0


def test_a_reader_that_dies_is_an_error_that_can_be_tried_again(tmp_path):
    readers = LocalFileReaders(environment.of_worker(1, "warning"), module="tuningfork.no_such_module")
    with pytest.raises(WorkerDied):
        readers.read(tmp_path / "upload", "a.csv", tmp_path / "rows")
