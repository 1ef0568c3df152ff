"""Rows on the disk and edits over them: any number of edits gives the same rows as a list in memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exploring import often
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.staged_dataset import CellFault, StagedDatasetId, StagedRow
from tuningfork.domain.staged_row_lines import line_of, row_of
from tuningfork.store.staged_rows import StagedFiles

ONE = StagedDatasetId("one")


@pytest.fixture
def files(tmp_path):
    return StagedFiles(LocalArtifactStore(tmp_path))


def row(number, *cells):
    return StagedRow(id=number, place=f"line {number}", cells=cells or (f"{number}",))


def kept(files, rows):
    path = files.arriving(ONE)
    path.write_bytes(b"".join(map(line_of, rows)))
    return files.keep_rows(ONE, path)


def all_rows(places):
    return [*places.read(range(len(places)))]


@pytest.mark.parametrize(
    "given",
    [
        row(3, "a", None, ""),
        row(4, "\u2028 line\nbreak\t\0", "\ud800"),
        row(5, CellFault(problem="a list; a text is wanted", advice="Write it out.")),
        StagedRow(
            id=6,
            conversation=Conversation(
                turns=(Turn(Speaker.USER, ("a", "b")), Turn.said(Speaker.MODEL, "c", 0), Turn.said(Speaker.MODEL, "d")),
                system_instruction="s",
            ),
        ),
        StagedRow(id=7, place="x", conversation=Conversation.pair("a", "b")),
    ],
)
def test_a_row_comes_back_from_its_line(given):
    line = line_of(given)
    assert line.count(b"\n") == 1
    assert row_of(given.id, line) == given
    assert row_of(given.id, b"%d\t%b" % (given.id, line)) == given


def test_rows_are_found_by_their_place_and_by_their_id(files):
    rows = [row(number) for number in range(5)]
    assert kept(files, rows) == sum(len(line_of(each)) for each in rows)
    places = files.places(ONE, 0, ())
    assert all_rows(places) == rows
    assert [*places.read([4, 0])] == [rows[4], rows[0]]
    assert (places.index(3), places.index(5)) == (3, None)


EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "add", "remove"]), st.lists(st.integers(0, 12), min_size=1, max_size=4)),
    max_size=8,
)


@settings(max_examples=often(40), deadline=None)
@given(edits=EDITS)
def test_edits_give_the_rows_that_a_list_has_and_undoing_the_rows_before(edits, tmp_path_factory):
    files = StagedFiles(LocalArtifactStore(tmp_path_factory.mktemp("rows")))
    rows = [row(number) for number in range(6)]
    kept(files, rows)
    states, next_id = [rows], 6
    for number, (kind, targets) in enumerate(edits, 1):
        changed, removed = [], []
        there = {each.id for each in rows}
        if kind == "set":
            changed = [row(each, f"edit {number}") for each in sorted({*targets} & there)]
            rows = [next((new for new in changed if new.id == old.id), old) for old in rows]
        elif kind == "add":
            changed = [row(next_id + more, f"new {number}") for more in range(len(targets))]
            next_id += len(targets)
            rows = [*rows, *changed]
        else:
            removed = sorted({*targets} & there)
            rows = [each for each in rows if each.id not in removed]
        files.write_edit(ONE, 0, number, changed, removed)
        states.append(rows)
    for number, expected in enumerate(states):
        assert all_rows(files.places(ONE, 0, range(1, number + 1))) == expected
    files.write_rows(ONE, 1, files.places(ONE, 0, range(1, len(edits) + 1)).read(range(len(rows))))
    assert all_rows(files.places(ONE, 1, ())) == rows


def test_an_edit_that_a_crash_kept_from_the_database_is_replaced_by_the_next_one(files):
    kept(files, [row(0), row(1)])
    files.write_edit(ONE, 0, 1, [row(0, "first")], [])
    files.write_edit(ONE, 0, 1, [row(1, "second")], [])
    assert [each.cells for each in all_rows(files.places(ONE, 0, [1]))] == [("0",), ("second",)]


def test_rows_of_another_server_are_refused_in_words(files):
    with pytest.raises(FailedPrecondition, match="not on this server"):
        files.places(ONE, 0, ())


def test_what_an_upload_has_left_and_what_has_no_row_is_removed(files):
    kept(files, [row(0)])
    files.write_rows(StagedDatasetId("two"), 0, [row(0)])
    files.arriving(StagedDatasetId("three")).write_bytes(b"half")
    files.remove_unknown({ONE})
    assert len(files.places(ONE, 0, ())) == 1
    assert not files.arriving(StagedDatasetId("three")).exists()
    with pytest.raises(FailedPrecondition):
        files.places(StagedDatasetId("two"), 0, ())
