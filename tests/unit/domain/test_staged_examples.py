"""Rows become the same examples as those that `tuningfork tune` makes of the file."""

import pytest

from tuningfork.client import training_files
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.staged_dataset import CellFault, ColumnRole, StagedColumn, StagedRow
from tuningfork.domain.staged_examples import Layout, RowProblem, example_of, sides_of

IN, OUT, SYSTEM, IGNORE = ColumnRole.INPUT, ColumnRole.OUTPUT, ColumnRole.SYSTEM, ColumnRole.IGNORE


def layout(*roles, prefixes=()):
    prefixes = [*prefixes, *[""] * (len(roles) - len(prefixes))]
    return Layout.of(
        [
            StagedColumn(name=str(i), role=role, prefix=prefix)
            for i, (role, prefix) in enumerate(zip(roles, prefixes, strict=True))
        ]
    )


def example(cells, *roles, prefixes=()):
    return example_of(StagedRow(id=0, cells=tuple(cells)), layout(*roles, prefixes=prefixes))


def test_one_input_and_one_output_are_a_pair():
    assert example(["a", "no", "b"], IN, IGNORE, OUT) == Conversation.pair("a", "b")


def test_prefixes_stand_before_each_text_one_column_a_line():
    made = example(["1", None, "2"], IN, IN, OUT, prefixes=["q: ", "hint: ", "a: "])
    assert made == Conversation.pair("q: 1\nhint: ", "a: 2")


def test_without_prefixes_empty_columns_leave_no_line():
    assert example(["1", None, "2", "3"], IN, IN, IN, OUT) == Conversation.pair("1\n2", "3")


def test_the_command_makes_the_same_of_the_same_columns(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("text,hint,label\none,,x\ntwo,more,y\n")
    columns = training_files.Columns(inputs=("text", "hint"), outputs=("label",))

    made = training_files.read(path, columns).examples

    prefixes = ["text: ", "hint: ", "label: "]
    assert [example(cells, IN, IN, OUT, prefixes=prefixes) for cells in (["one", "", "x"], ["two", "more", "y"])] == [
        *made
    ]


def test_a_system_column_is_the_system_instruction_where_it_is_filled():
    roles = SYSTEM, IN, OUT
    assert example(["be brief", "a", "b"], *roles).system_instruction == "be brief"
    assert example([" ", "a", "b"], *roles).system_instruction is None


@pytest.mark.parametrize(
    ("cells", "problems"),
    [
        (["", "b"], [RowProblem.EMPTY_INPUT]),
        (["a", " \n"], [RowProblem.EMPTY_OUTPUT]),
        ([None, None], [RowProblem.EMPTY_INPUT, RowProblem.EMPTY_OUTPUT]),
        (["a\0", "b"], [RowProblem.BAD_CHARACTERS]),
        (["a", "\ud800"], [RowProblem.BAD_CHARACTERS]),
        ([CellFault(problem="a list"), "b"], [RowProblem.NOT_TEXT]),
    ],
)
def test_every_reason_for_which_a_row_is_no_example_is_told(cells, problems):
    assert example(cells, IN, OUT) == tuple(problems)


def test_a_conversation_needs_a_question_and_something_to_learn():
    def problems(*turns):
        return example_of(StagedRow(id=0, conversation=Conversation(turns=turns)), layout())

    user, model = Turn.said(Speaker.USER, "a"), Turn.said(Speaker.MODEL, "b")
    assert isinstance(problems(user, model), Conversation)
    assert problems(user, Turn.said(Speaker.MODEL, "b", 0)) == (RowProblem.EMPTY_OUTPUT,)
    assert problems(model) == (RowProblem.EMPTY_INPUT,)
    assert problems() == (RowProblem.EMPTY_INPUT, RowProblem.EMPTY_OUTPUT)


def test_the_sides_of_a_conversation_are_all_before_its_last_learned_turn_and_that_turn():
    turns = (
        Turn.said(Speaker.USER, "1"),
        Turn.said(Speaker.MODEL, "2"),
        Turn.said(Speaker.USER, "3"),
        Turn.said(Speaker.MODEL, "4"),
    )
    before, learned = sides_of(Conversation(turns=turns, system_instruction="s"))
    assert before.split("\x1f") == ["s", "1", "2", "3"]
    assert learned == "4"
