"""Findings have words, their rows, and the worst first; what is missing is said in the order in which it is done."""

import pytest

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.view.findings import Severity, findings_of
from tuningfork.studio.view.readiness import missing_of
from tuningfork.studio.view.staged_data import staged_data
from tuningfork.studio.view.tuning_settings import TypedSettings

ENGLISH = Texts("en")


def row(number):
    return {"id": number - 1, "number": number}


EMPTY = {
    "id": "empty_output",
    "severity": "ERROR",
    "title": "as sent",
    "description": "2 rows have no output.",
    "count": 2,
    "rows": [row(17), row(203)],
    "column": "answer",
    "fixes": [{"id": "remove_rows", "title": "as sent", "changes": 2}],
}
MANY = {
    "id": "duplicates",
    "severity": "WARNING",
    "title": "as sent",
    "count": 40,
    "rows": [row(n) for n in range(1, 31)],
}
NEWER = {
    "id": "of_a_newer_server",
    "severity": "STRANGE",
    "title": "Something new",
    "fixes": [{"id": "new", "title": "Mend"}],
}


def data(**changes):
    columns = [{"name": "a", "role": "INPUT"}, {"name": "b", "role": "OUTPUT"}]
    return staged_data({"name": "datasets/x", "rowCount": 3, "columns": columns, **changes})


def test_errors_come_first_with_their_rows_and_fixes():
    findings = findings_of({"findings": [MANY, EMPTY], "exampleCount": 478}, ENGLISH)

    first, second = findings.all
    assert (first.id, first.severity, first.title) == ("empty_output", Severity.ERROR, "Empty output")
    assert first.row_numbers == (17, 203)
    assert first.row_ids == (16, 202)
    assert [(fix.id, fix.title) for fix in first.fixes] == [("remove_rows", "Remove 2 rows")]
    assert (second.severity, len(second.row_numbers), second.rows_more()) == (Severity.WARNING, 8, 32)
    assert (findings.errors, findings.example_count, findings.token_count) == (1, 478, None)


def test_a_finding_of_a_newer_server_has_its_own_words():
    (finding,) = findings_of({"findings": [NEWER]}, ENGLISH).all

    assert (finding.title, finding.severity, finding.fixes[0].title) == ("Something new", Severity.INFO, "Mend")


@pytest.mark.parametrize(
    ("changes", "findings", "settings", "steps"),
    [
        ({}, [], {"source": "models/a"}, []),
        ({"rowCount": 0}, [EMPTY], {"source": "models/a"}, ["check"]),
        ({"columns": [{"name": "a", "role": "INPUT"}]}, [EMPTY], {"source": "models/a"}, ["columns"]),
        ({}, [EMPTY], {"source": ""}, ["check", "settings"]),
        ({}, [], {"source": "models/a", "epochCount": "x"}, ["settings"]),
    ],
)
def test_what_is_missing_is_named_with_the_step_where_it_is_done(changes, findings, settings, steps):
    found = findings_of({"findings": findings}, ENGLISH)

    missing = missing_of(data(**changes), found, TypedSettings(settings), "", ENGLISH)

    assert [each.step for each in missing] == steps


def test_errors_are_counted_and_a_refusal_is_not_silent():
    found = findings_of({"findings": [EMPTY]}, ENGLISH)

    assert missing_of(data(), found, TypedSettings({"source": "models/a"}), "", ENGLISH)[0].text == "Mend 1 error"
    assert (
        missing_of(data(), None, TypedSettings({"source": "models/a"}), "no such base", ENGLISH)[0].step == "settings"
    )
