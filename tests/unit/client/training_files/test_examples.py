"""Rows become examples: columns are joined as Google AI Studio does."""

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.columns import Columns, choose
from tuningfork.training_files.examples import make
from tuningfork.training_files.questions import Question
from tuningfork.training_files.table import Row, Table

QUESTION = Question(command=("tuningfork", "tune", "FILE"))


def example(cells, **columns):
    row = Row(place="line 2", cells=cells)
    table = Table(columns=tuple(cells), rows=(row,), header_place="line 1")
    return make(row, choose(table, Columns(**columns), QUESTION))


def test_one_column_of_each_kind_is_taken_as_it_is():
    assert example({"question": "1", "answer": "2"}) == Conversation.pair("1", "2")


def test_prefixes_are_the_columns_names():
    assert example({"input": "1", "output": "2"}, prefixes=True) == Conversation.pair("input: 1", "output: 2")


def test_several_columns_are_joined_in_order_one_a_line_with_their_names():
    cells = {"context": "c", "question": "q", "answer": "a", "source": "s"}

    made = example(cells, inputs=("question", "context"), outputs=("answer", "source"))

    assert made == Conversation.pair("question: q\ncontext: c", "answer: a\nsource: s")


def test_several_columns_may_be_joined_without_their_names():
    cells = {"context": "c", "question": "q", "answer": "a"}

    assert example(cells, inputs=("context", "question"), prefixes=False) == Conversation.pair("c\nq", "a")


def test_of_several_columns_some_may_be_empty():
    cells = {"context": None, "question": "q", "answer": "a"}

    assert example(cells, inputs=("context", "question")) == Conversation.pair("context: \nquestion: q", "answer: a")
    assert example(cells, inputs=("context", "question"), prefixes=False) == Conversation.pair("q", "a")


def test_of_several_columns_not_all_may_be_empty():
    (fault,) = example({"a": None, "b": " ", "c": "x"}, inputs=("a", "b"))

    assert (fault.place, fault.problem) == ("line 2, columns 'a', 'b'", "all are empty.")


def test_white_space_around_texts_is_kept():
    assert example({"question": " 1\n", "answer": "2 "}) == Conversation.pair(" 1\n", "2 ")


def test_the_colon_of_a_prefix_is_not_written_twice():
    cells = {"input:": "1", "output:": "2"}

    assert example(cells) == Conversation.pair("1", "2")
    assert example(cells, prefixes=True) == Conversation.pair("input: 1", "output: 2")


def test_a_system_column_is_what_stands_before_the_conversation_where_it_is_filled():
    cells = {"system": "Be short.", "prompt": "1", "completion": "2"}

    assert example(cells).system_instruction == "Be short."
    assert example({**cells, "system": " "}) == Conversation.pair("1", "2")
    assert example(cells, inputs=("prompt",), outputs=("completion",)) == Conversation.pair("1", "2")


def test_the_input_of_an_alpaca_record_may_be_empty():
    assert example({"instruction": "Sum up.", "input": "abc", "output": "a"}) == Conversation.pair("Sum up.\nabc", "a")
    assert example({"instruction": "Tell a joke.", "input": "", "output": "a"}) == Conversation.pair(
        "Tell a joke.", "a"
    )
