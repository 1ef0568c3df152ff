"""Columns are chosen as the Gemini API's clients do, and joined as Google AI Studio does."""

import pytest

from tuningfork.client.training_files.examples import Columns, choose, make
from tuningfork.client.training_files.table import Row, Table, Unreadable
from tuningfork.domain.dataset import Example


def table(*columns, header_place="line 1", ambiguous=()):
    return Table(columns=columns, rows=(), header_place=header_place, ambiguous=frozenset(ambiguous))


def example(cells, **columns):
    row = Row(place="line 2", cells=cells)
    return make(row, choose(table(*cells), Columns(**columns)))


@pytest.mark.parametrize(
    ("columns", "inputs", "outputs"),
    [
        (("text_input", "output"), ("text_input",), ("output",)),
        (("output", "text_input"), ("text_input",), ("output",)),
        (("id", "text_input", "output", "note"), ("text_input",), ("output",)),
        (("question", "answer"), ("question",), ("answer",)),
        (("answer", "text_input"), ("text_input",), ("answer",)),
        (("output", "prompt"), ("prompt",), ("output",)),
    ],
)
def test_without_a_word_the_usual_columns_are_taken_or_the_only_two(columns, inputs, outputs):
    chosen = choose(table(*columns), Columns())

    assert (chosen.inputs, chosen.outputs, chosen.prefixes) == (inputs, outputs, False)


@pytest.mark.parametrize(
    ("wanted", "inputs", "outputs"),
    [
        (Columns(inputs=("a",)), ("a",), ("output",)),
        (Columns(inputs=("b", "a")), ("b", "a"), ("output",)),
        (Columns(inputs=("a", "a")), ("a",), ("output",)),
        (Columns(outputs=("b",), inputs=("a",)), ("a",), ("b",)),
    ],
)
def test_what_is_named_is_taken_in_the_order_it_is_named(wanted, inputs, outputs):
    chosen = choose(table("a", "b", "output"), wanted)

    assert (chosen.inputs, chosen.outputs) == (inputs, outputs)


def test_the_other_of_two_columns_need_not_be_named():
    assert choose(table("a", "b"), Columns(outputs=("a",))).inputs == ("b",)
    assert choose(table("a", "b"), Columns(inputs=("b",))).outputs == ("a",)


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (("a", "b", "c"), Columns(), "no column 'text_input'; the columns are 'a', 'b', 'c'"),
        (("a", "b"), Columns(inputs=("c",)), "no column 'c'"),
        (("a", "b", "c"), Columns(inputs=("a",)), "no column 'output'"),
        (("a", "b"), Columns(inputs=("a",), outputs=("a",)), "column 'a' cannot be input and output at once"),
        ((), Columns(), "the columns are none"),
        (("text_input\toutput",), Columns(), "one single column"),
        (("1", "2"), Columns(), "'1', '2' looks like data"),
        (("-98", "ninety eight"), Columns(), "'-98' looks like data"),
    ],
)
def test_columns_that_cannot_be_chosen_are_told_beside_those_there_are(names, wanted, message):
    with pytest.raises(Unreadable, match=message):
        choose(table(*names), wanted)


def test_every_missing_column_is_told():
    with pytest.raises(Unreadable) as caught:
        choose(table("a"), Columns(inputs=("b", "c"), outputs=("d",)))

    assert [fault.problem.partition(";")[0] for fault in caught.value.faults] == [
        "no column 'b'",
        "no column 'c'",
        "no column 'd'",
    ]


def test_columns_that_look_like_data_may_be_named():
    chosen = choose(table("2023", "2024"), Columns(inputs=("2023",)))

    assert (chosen.inputs, chosen.outputs) == (("2023",), ("2024",))


def test_a_name_that_two_columns_have_can_only_stay_unused():
    names = table("a", "b", "c", ambiguous=["c"])

    assert choose(names, Columns(inputs=("a",), outputs=("b",))).inputs == ("a",)
    with pytest.raises(Unreadable, match="two columns are named 'c'"):
        choose(names, Columns(inputs=("a",), outputs=("c",)))


def test_one_column_of_each_kind_is_taken_as_it_is():
    assert example({"question": "1", "answer": "2"}) == Example("1", "2")


def test_prefixes_are_the_columns_names():
    assert example({"input": "1", "output": "2"}, prefixes=True) == Example("input: 1", "output: 2")


def test_several_columns_are_joined_in_order_one_a_line_with_their_names():
    cells = {"context": "c", "question": "q", "answer": "a", "source": "s"}

    made = example(cells, inputs=("question", "context"), outputs=("answer", "source"))

    assert made == Example("question: q\ncontext: c", "answer: a\nsource: s")


def test_several_columns_may_be_joined_without_their_names():
    cells = {"context": "c", "question": "q", "answer": "a"}

    assert example(cells, inputs=("context", "question"), prefixes=False) == Example("c\nq", "a")


def test_of_several_columns_some_may_be_empty():
    cells = {"context": None, "question": "q", "answer": "a"}

    assert example(cells, inputs=("context", "question")) == Example("context: \nquestion: q", "answer: a")
    assert example(cells, inputs=("context", "question"), prefixes=False) == Example("q", "a")


def test_of_several_columns_not_all_may_be_empty():
    (fault,) = example({"a": None, "b": " ", "c": "x"}, inputs=("a", "b"))

    assert (fault.place, fault.problem) == ("line 2, columns 'a', 'b'", "all are empty.")


def test_white_space_around_texts_is_kept():
    assert example({"question": " 1\n", "answer": "2 "}) == Example(" 1\n", "2 ")
