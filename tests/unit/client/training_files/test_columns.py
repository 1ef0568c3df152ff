"""Columns are chosen by what the caller says or by their names; where these do not tell, the caller is asked."""

import csv
import io

import pytest

from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError
from tuningfork.training_files.columns import Columns, choose
from tuningfork.training_files.questions import Question
from tuningfork.training_files.table import Row, Table, Unreadable

QUESTION = Question(command=("tuningfork", "tune", "my file.csv"))


def table(*columns, header_place="line 1", ambiguous=(), rows=()):
    filled = tuple(
        Row(place=f"line {index}", cells=dict(zip(columns, row, strict=True))) for index, row in enumerate(rows, 2)
    )
    return Table(columns=columns, rows=filled, header_place=header_place, ambiguous=frozenset(ambiguous))


def chosen_of(names, **wanted):
    return choose(table(*names), Columns(**wanted), QUESTION)


def asked_of(*names, rows=(), **wanted):
    with pytest.raises(Unreadable) as caught:
        choose(table(*names, rows=rows), Columns(**wanted), QUESTION)
    (fault,) = caught.value.faults
    return fault


USUAL = [
    ("text_input", "output"),
    ("id", "text_input", "output", "note"),
    ("prompt", "completion"),
    ("PROMPT", "Completion"),
    ("Question", "Answer"),
    ("questions", "answers"),
    ("q", "a"),
    ("input", "output"),
    ("input:", "output:"),
    ("Input Text", "Output-Text"),
    ("textInput", "output"),
    ("input_text", "output_text"),
    ("instruction", "response"),
    ("text", "label"),
    ("Text", "Labels"),
    ("prompt", "target"),
    ("Eingabe", "Ausgabe"),
    ("Frage", "Antwort"),
    ("soru", "cevap"),
    ("GİRDİ", "ÇIKTI"),
    ("girdi", "\u00e7\u0131kt\u0131"),
    ("İstem", "Yan\u0131t"),
    ("вопрос", "Ответ"),
    ("Ввод", "Вывод"),
    ("प्रश्न", "उत्तर"),
    ("इनपुट", "आउटपुट"),
    ("输入", "输出"),
    ("问题", "答案"),
]


@pytest.mark.parametrize("names", USUAL)
def test_usual_names_are_known_in_any_case_order_and_language(names):
    given, learned = (names[1], names[2]) if len(names) > 2 else names

    for order in (names, tuple(reversed(names))):
        chosen = chosen_of(order)
        assert (chosen.inputs, chosen.outputs, chosen.prefixes) == ((given,), (learned,), False)


def test_the_columns_of_the_gemini_api_win_over_other_usual_ones():
    chosen = chosen_of(("prompt", "answer", "text_input", "output"))

    assert (chosen.inputs, chosen.outputs) == (("text_input",), ("output",))


@pytest.mark.parametrize("order", [("instruction", "input", "output"), ("output", "input", "instruction")])
def test_alpacas_instruction_stands_before_its_input(order):
    chosen = chosen_of(order)

    assert (chosen.inputs, chosen.outputs, chosen.prefixes) == (("instruction", "input"), ("output",), False)


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b"),
        ("id", "text"),
        ("index", "answer"),
        ("label", "sentence"),
        ("question", "b"),
        ("b", "answer"),
        ("German", "English"),
        ("question", "answer", "completion"),
        ("question", "prompt", "answer"),
        ("context", "question", "answer"),
        ("a", "b", "c"),
    ],
)
def test_columns_in_doubt_are_asked_about(names):
    assert asked_of(*names).problem.startswith("which column is the input and which the output? The columns are ")


def test_the_question_prints_command_lines_that_settle_it():
    fault = asked_of("German text", "English")

    assert fault.place == "line 1"
    assert fault.advice.splitlines() == [
        "To learn 'English' from 'German text':",
        "  tuningfork tune 'my file.csv' --input-key 'German text' --output-key English",
        "To learn 'German text' from 'English':",
        "  tuningfork tune 'my file.csv' --input-key English --output-key 'German text'",
    ]


@pytest.mark.parametrize(
    ("names", "rows", "first"),
    [
        (("label", "sentence"), (), "--input-key sentence --output-key label"),
        (
            ("kind", "words"),
            [("spam", "a"), ("ham", "b"), ("spam", "c"), ("ham", "d")],
            "--input-key words --output-key kind",
        ),
        (("context", "question", "answer"), (), "--input-key context --input-key question --output-key answer"),
        (("nr", "de", "en"), (), "--input-key de --output-key en"),
        (("what", "de", "en"), [("1", "a", "b"), ("2", "c", "d"), ("3", "e", "f")], "--input-key de --output-key en"),
    ],
)
def test_the_likelier_answer_comes_first_and_an_index_is_none(names, rows, first):
    commands = [line for line in asked_of(*names, rows=rows).advice.splitlines() if "--input-key" in line]

    assert commands[0].endswith(first)


def test_an_index_is_named_as_one():
    assert "'id' only seems to count the examples." in asked_of("id", "text").advice


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("1", "2"), ()),
        (("-98", "ninety eight"), ()),
        (("What are your hours?", "Nine to five."), ()),
        (("spam", "WIN a prize now"), [("ham", "see you"), ("spam", "click")]),
        (("x" * 60, "y"), ()),
    ],
)
def test_a_first_row_that_looks_like_an_example_is_asked_about(names, rows):
    advice = asked_of(*names, rows=rows).advice.splitlines()

    assert advice[:2] == [
        "If line 1 is an example already, and no header:",
        "  tuningfork tune 'my file.csv' --no-header",
    ]


def test_a_header_that_is_said_to_be_one_is_not_asked_about_again():
    said = Question(command=QUESTION.command, header_given=True)

    with pytest.raises(Unreadable) as caught:
        choose(table("1", "2"), Columns(header=True), said)

    assert "--no-header" not in caught.value.faults[0].advice


@pytest.mark.parametrize(
    ("wanted", "inputs", "outputs"),
    [
        ({"inputs": ("x",)}, ("x",), ("output",)),
        ({"inputs": ("y", "x")}, ("y", "x"), ("output",)),
        ({"inputs": ("x", "x")}, ("x",), ("output",)),
        ({"outputs": ("y",), "inputs": ("x",)}, ("x",), ("y",)),
    ],
)
def test_what_is_named_is_taken_in_the_order_it_is_named(wanted, inputs, outputs):
    chosen = chosen_of(("x", "y", "output"), **wanted)

    assert (chosen.inputs, chosen.outputs) == (inputs, outputs)


def test_the_other_of_two_columns_need_not_be_named():
    assert chosen_of(("x", "y"), outputs=("x",)).inputs == ("y",)
    assert chosen_of(("x", "y"), inputs=("y",)).outputs == ("x",)
    assert chosen_of(("x", "y", "answer"), inputs=("y",)).outputs == ("answer",)


def test_the_other_of_many_columns_is_asked_for_with_what_was_named():
    fault = asked_of("id", "x", "y", "z", inputs=("x",))

    assert fault.problem == "which column is the output? The columns are 'id', 'x', 'y', 'z'."
    assert "  tuningfork tune 'my file.csv' --input-key x --output-key y\n" in fault.advice
    assert "--output-key id" not in fault.advice


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (("x", "y"), {"inputs": ("c",)}, "which column is the output"),
        (("x", "y"), {"inputs": ("c",), "outputs": ("y",)}, "no column 'c'"),
        (("x", "y"), {"inputs": ("x",), "outputs": ("x",)}, "column 'x' cannot be input and output at once"),
        ((), {}, "no row names the columns"),
        (("text_input\toutput",), {}, "only one column"),
    ],
)
def test_columns_that_cannot_be_chosen_are_told_beside_those_there_are(names, wanted, message):
    with pytest.raises(Unreadable, match=message):
        choose(table(*names), Columns(**wanted), QUESTION)


def test_every_missing_column_is_told():
    with pytest.raises(Unreadable) as caught:
        choose(table("x"), Columns(inputs=("b", "c"), outputs=("d",)), QUESTION)

    assert [fault.problem.partition(";")[0] for fault in caught.value.faults] == [
        "no column 'b'",
        "no column 'c'",
        "no column 'd'",
    ]


def test_columns_that_look_like_data_may_be_named():
    chosen = chosen_of(("2023", "2024"), inputs=("2023",))

    assert (chosen.inputs, chosen.outputs) == (("2023",), ("2024",))


def test_a_name_that_two_columns_have_can_only_stay_unused():
    names = table("x", "y", "c", ambiguous=["c"])

    assert choose(names, Columns(inputs=("x",), outputs=("y",)), QUESTION).inputs == ("x",)
    with pytest.raises(Unreadable, match="two columns are named 'c'"):
        choose(names, Columns(inputs=("x",), outputs=("c",)), QUESTION)


# Without a header


def written(tmp_path, rows, name="p.csv"):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    (tmp_path / name).write_text(text.getvalue(), encoding="utf-8")
    return tmp_path / name


def test_without_a_header_no_example_is_lost_and_the_second_column_is_learned(tmp_path):
    path = written(tmp_path, [["What are your hours?", "Nine to five."], ["Do you ship?", "Yes."]])

    data = training_files.read(path, Columns(header=False))

    assert [example.as_pair() for example in data.examples] == [
        ("What are your hours?", "Nine to five."),
        ("Do you ship?", "Yes."),
    ]
    assert (data.files[0].chosen.inputs, data.files[0].chosen.outputs) == (("1",), ("2",))


def test_without_a_header_columns_are_named_by_their_numbers(tmp_path):
    path = written(tmp_path, [["x", "1", "2"], ["y", "3", "4"]])

    data = training_files.read(path, Columns(inputs=("3", "1"), outputs=("2",), header=False))

    assert [example.as_pair() for example in data.examples] == [("2\nx", "1"), ("4\ny", "3")]


@pytest.mark.parametrize(
    "rows",
    [
        [["1", "a"], ["2", "b"], ["3", "c"]],
        [["spam", "a"], ["ham", "b"], ["spam", "c"], ["ham", "d"]],
        [["a", "b", "c"]],
    ],
    ids=["index", "label", "three columns"],
)
def test_without_a_header_a_first_column_that_is_no_input_is_asked_about(tmp_path, rows):
    with pytest.raises(TrainingFileError, match="they have no names"):
        training_files.read(written(tmp_path, rows), Columns(header=False))


def test_a_single_row_that_is_an_example_is_asked_about_too(tmp_path):
    with pytest.raises(TrainingFileError) as caught:
        training_files.read(written(tmp_path, [["What are your hours?", "Nine to five."]]))

    assert "--no-header" in caught.value.advice
