"""Each finding is found, with its rows, and each fix mends all of them and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tuningfork.domain.base_model import Limits
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.data_check import DataCheck
from tuningfork.domain.data_findings import DataFindingKind, Fix, Severity
from tuningfork.domain.data_fixes import fixed
from tuningfork.domain.staged_dataset import (
    CellFault,
    ColumnRole,
    ReadFile,
    RowsKind,
    StagedColumn,
    StagedDataset,
    StagedDatasetId,
    StagedRow,
    UnreadRow,
)
from tuningfork.domain.staged_examples import Layout

K = DataFindingKind
COLUMNS = (StagedColumn(name="q", role=ColumnRole.INPUT), StagedColumn(name="a", role=ColumnRole.OUTPUT))
NOW = datetime(2026, 5, 1, tzinfo=UTC)
ENOUGH = [(f"question {number}", f"answer {number}") for number in range(30)]


def dataset(columns=COLUMNS, **read):
    kind = RowsKind.PAIRS if columns else RowsKind.CONVERSATIONS
    file = ReadFile(format="CSV", kind=kind, columns=columns, row_count=0, **read)
    return StagedDataset(
        id=StagedDatasetId("x"),
        owner="ada@example.com",
        display_name="x",
        source_name="x.csv",
        read=file,
        columns=columns,
        columns_settled=True,
        row_count=0,
        next_row=0,
        size_bytes=0,
        create_time=NOW,
        update_time=NOW,
        use_time=NOW,
    )


def report(rows, of=None, limits=None, *, held_out=False):
    check = DataCheck(of or dataset(), limits or Limits(), held_out=held_out)
    for number, cells in enumerate(rows):
        check.add(cells if isinstance(cells, StagedRow) else StagedRow(id=number, cells=tuple(cells)))
    return check.report()


def found(rows, **options):
    """What is found: the kind, and the ids of its rows."""
    return {each.kind: [*each.rows] for each in report(rows, **options).findings}


def test_nothing_is_found_in_good_data():
    clean = report(ENOUGH)
    assert clean.findings == ()
    assert (clean.row_count, clean.example_count) == (30, 30)
    assert clean.characters == sum(len(q) + len(a) for q, a in ENOUGH)
    assert sum(bucket.count for bucket in clean.lengths) == 30


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (K.EMPTY_INPUT, ("", "b")),
        (K.EMPTY_OUTPUT, ("b", " ")),
        (K.NOT_TEXT, (CellFault(problem="a list"), "b")),
        (K.BAD_CHARACTERS, ("a\0", "b")),
        (K.ENCODING_DAMAGE, ("MÃ¼ller", "b")),
        (K.STRAY_SPACES, ("a", "b\n")),
        (K.FORMULAS, ("=SUM(A1:A2)", "b")),
        (K.OUTPUT_EQUALS_INPUT, ("same", "same")),
    ],
)
def test_a_bad_row_is_found_where_it_is(kind, cells):
    rows = [*ENOUGH[:15], cells, *ENOUGH[15:]]
    assert found(rows) == {kind: [15]}


def test_later_copies_of_a_row_are_duplicates_and_other_outputs_conflicts():
    rows = [*ENOUGH, ENOUGH[3], (ENOUGH[4][0], "another")]
    assert found(rows) == {K.DUPLICATES: [30], K.CONFLICTING_OUTPUTS: [4, 31]}
    kept = report(rows).kept_of_conflicts
    assert kept == {4}


def test_inputs_that_are_nearly_equal_leak_into_a_validation_set_and_copies_do_not():
    rows = [*ENOUGH, ENOUGH[3], ("Question  7", "other")]
    assert K.VALIDATION_LEAKAGE not in found(rows)
    assert found(rows, held_out=True)[K.VALIDATION_LEAKAGE] == [31]


def test_texts_above_the_limits_of_the_base_are_errors_with_the_limit_in_words():
    limits = Limits(max_input_characters=20, max_output_characters=10)
    rows = [*ENOUGH, ("x" * 21, "b"), ("c", "y" * 11)]
    made = {each.kind: each for each in report(rows, limits=limits).findings}
    assert [*made[K.INPUT_TOO_LONG].rows] == [30]
    assert [*made[K.OUTPUT_TOO_LONG].rows] == [31]
    assert "more than 10 characters" in made[K.OUTPUT_TOO_LONG].description
    assert made[K.OUTPUT_TOO_LONG].kind.severity is Severity.ERROR


def test_labels_that_differ_in_case_or_spaces_are_found_with_how_most_rows_write_them():
    rows = [(f"q{n}", "sport") for n in range(12)] + [
        ("r1", "Sport "),
        ("r2", "SPORT"),
        *((f"s{n}", "news") for n in range(9)),
    ]
    made = next(each for each in report(rows).findings if each.kind is K.NEAR_EQUAL_LABELS)
    assert [*made.rows] == [12, 13]
    assert dict(made.values) == {"sport": 12, "Sport ": 1, "SPORT": 1}
    assert report(rows).labels == {"Sport ": "sport", "SPORT": "sport"}


def test_texts_are_no_labels():
    assert K.NEAR_EQUAL_LABELS not in found([*ENOUGH, ("x", "ANSWER 1"), ("y", "answer 1.")])


def test_one_label_in_most_rows_is_told():
    rows = [(f"q{n}", "yes") for n in range(28)] + [("r", "no"), ("s", "no")]
    made = next(each for each in report(rows).findings if each.kind is K.LABEL_IMBALANCE)
    assert made.description == "The most frequent output is in 93 % of the rows."
    assert made.kind.severity is Severity.INFO


def test_few_rows_no_rows_and_no_columns_are_told():
    assert set(found(ENOUGH[:3])) == {K.FEW_ROWS}
    assert set(found([])) == {K.NO_ROWS}
    unchosen = dataset(tuple(replace(column, role=ColumnRole.IGNORE) for column in COLUMNS))
    assert set(found(ENOUGH, of=unchosen)) == {K.NO_COLUMNS}


def test_lines_that_became_no_row_are_an_error_until_somebody_accepts_it():
    of = dataset(unread=(UnreadRow(place="line 3", problem="x"),), unread_count=1)
    assert report(ENOUGH, of=of).errors[0].description.startswith("1 line of the file became no row")
    assert found(ENOUGH, of=replace(of, unread_accepted=True)) == {}


def test_conversations_are_looked_at_too_and_not_taken_by_bases_of_single_answers():
    turns = (
        Turn.said(Speaker.USER, "a "),
        Turn.said(Speaker.MODEL, "b"),
        Turn.said(Speaker.USER, "c"),
        Turn.said(Speaker.MODEL, "d"),
    )
    rows = [
        StagedRow(id=n, conversation=Conversation(turns=(Turn.said(Speaker.USER, f"{n}"), *turns[1:])))
        for n in range(20)
    ]
    assert found(rows, of=dataset(())) == {}
    assert found(rows, of=dataset(()), limits=Limits(conversations=False)) == {K.NOT_TAKEN: [*range(20)]}
    spaced = [*rows, StagedRow(id=20, conversation=Conversation(turns=turns))]
    assert found(spaced, of=dataset(())) == {K.STRAY_SPACES: [20]}


def test_errors_come_before_warnings():
    kinds = [each.kind.severity for each in report([("", "b"), ("a ", "b")]).findings]
    assert kinds == sorted(kinds, key=list(Severity).index)


@pytest.mark.parametrize("kind", K)
def test_every_finding_has_words(kind):
    from tuningfork.domain.data_findings import DESCRIPTIONS, TITLES  # noqa: PLC0415

    assert TITLES[kind]
    assert DESCRIPTIONS[kind].endswith(".")


LAYOUT = Layout.of(COLUMNS)


def mended(cells, fix, *, limits=None, labels=None, layout=LAYOUT):
    row = StagedRow(id=7, place="line 8", cells=cells)
    after = fixed(row, fix, layout, limits or Limits(), labels or {})
    assert (after.id, after.place) == (7, "line 8")
    return after.cells


def test_fixes_change_the_texts_that_become_examples_and_no_others():
    columns = (*COLUMNS, StagedColumn(name="c"))
    layout = Layout.of(columns)
    assert mended((" a ", "b\n", " c "), Fix.TRIM_SPACES, layout=layout) == ("a", "b", " c ")
    assert mended(("MÃ¼ller", None, "MÃ¼ller"), Fix.REPAIR_ENCODING, layout=layout) == ("Müller", None, "MÃ¼ller")


def test_texts_are_cut_to_the_limit_with_room_for_their_prefix():
    layout = Layout.of([COLUMNS[0], replace(COLUMNS[1], prefix="a: ")])
    limits = Limits(max_input_characters=2, max_output_characters=5)
    assert mended(("abc", "defgh"), Fix.CUT_TEXT, limits=limits, layout=layout) == ("ab", "de")


def test_labels_are_written_as_most_rows_write_them_in_the_output_alone():
    assert mended(("Sport ", "Sport "), Fix.MERGE_LABELS, labels={"Sport ": "sport"}) == ("Sport ", "sport")


def test_conversations_are_mended_turn_by_turn():
    said = Conversation(turns=(Turn.said(Speaker.USER, "a "), Turn(Speaker.MODEL, ("b", "c"))))
    after = fixed(StagedRow(id=1, conversation=said), Fix.TRIM_SPACES, Layout.of(()), Limits(), {})
    assert after.conversation.turns == (Turn.said(Speaker.USER, "a"), Turn(Speaker.MODEL, ("b", "c")))


def test_every_fix_leaves_a_row_in_which_its_finding_is_not_found_again():
    rows = [*ENOUGH, (" a", "b"), ("MÃ¼ller", "c")]
    for kind, fix in ((K.STRAY_SPACES, Fix.TRIM_SPACES), (K.ENCODING_DAMAGE, Fix.REPAIR_ENCODING)):
        ids = found(rows)[kind]
        after = [mended(tuple(cells), fix) if n in ids else cells for n, cells in enumerate(rows)]
        assert kind not in found(after)
