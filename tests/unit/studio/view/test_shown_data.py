"""Data sets, examples and estimates as the API writes them, with what it leaves out."""

import pytest

from tuningfork.studio.view.estimate import Estimate, estimate_in
from tuningfork.studio.view.mask import Segment, masked_example
from tuningfork.studio.view.staged_data import Column, Line, lines_of, staged_data

HOSTILE = (":x", "a.b", "__proto__", "<img src=x onerror=1>", "{{7*7}}")


def test_a_data_set_of_which_the_api_says_little():
    data = staged_data({"name": "datasets/x", "rowCount": 0})

    assert (data.id, data.title, data.columns, data.draft, data.expires) == ("x", "x", (), {}, "")
    assert data.has_columns


def test_names_of_columns_and_cells_are_values_whatever_they_say():
    columns = [{"name": name, "role": "INPUT"} for name in HOSTILE]

    assert staged_data({"name": "datasets/x", "columns": columns}).columns == tuple(
        Column(name, "INPUT", "", name) for name in HOSTILE
    )
    assert lines_of({"cells": [*HOSTILE, None]}) == tuple(Line("", text) for text in (*HOSTILE, ""))


def test_input_alone_is_not_enough():
    columns = [{"name": "a", "role": "INPUT"}, {"name": "b", "role": "IGNORE"}]

    assert not staged_data({"name": "datasets/x", "columns": columns}).has_columns


def test_a_conversation_is_what_was_said_in_order():
    turns = [{"role": "user", "text": "LXIII"}, {"role": "model", "text": "LXIV", "learned": True}]

    assert lines_of({"conversation": {"systemInstruction": "Count.", "turns": turns}}) == (
        Line("system", "Count."),
        Line("user", "LXIII"),
        Line("model", "LXIV"),
    )


def test_the_learned_part_of_an_example_is_told_apart_and_line_ends_are_seen():
    example = masked_example(
        {
            "id": 16,
            "number": 17,
            "segments": [
                {"text": "<start>LXIII\n", "tokenCount": 9},
                {"text": "LXIV<end>", "learned": True, "tokenCount": 5},
            ],
            "tokenCount": 14,
            "learnedTokenCount": 5,
            "identicalToServing": True,
        }
    )

    assert example.segments[0] == Segment(text="<start>LXIII↵\n", learned=False, token_count=9)
    assert example.learned_text == "LXIV<end>"
    assert example.as_served is True
    assert masked_example({"id": 1, "number": 2}).as_served is None


def test_what_an_estimate_does_not_say_is_not_known():
    assert estimate_in({}) == Estimate(used={})
    assert estimate_in({"seconds": None, "jobsAhead": 0}).jobs_ahead == 0
    assert estimate_in({"totalSteps": "19", "hyperparameters": {"epochCount": 5}, "adapterRank": 8}) == Estimate(
        step_count=19, used={"epochCount": 5.0, "adapterRank": 8.0}
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["question", "answer"], ["question", "answer"]),
        (["answer", "answer", "answer"], ["answer", "answer (2)", "answer (3)"]),
        (["answer (2)", "answer", "answer"], ["answer (2)", "answer", "answer (3)"]),
        (["", "", "x"], ["", "", "x"]),
    ],
)
def test_columns_of_one_name_are_told_apart(names, labels):
    shown = staged_data({"name": "datasets/x", "columns": [{"name": name} for name in names]})

    assert [column.label for column in shown.columns] == labels
    assert [column.name for column in shown.columns] == names
