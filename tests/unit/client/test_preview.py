"""A preview can be read by a person, whatever the texts hold."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tuningfork.client import preview
from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment, TuningPreview


def of(*segments):
    """A preview of one example with these texts, given and trained in turn."""
    example = PreviewedExample(
        segments=tuple(
            PreviewSegment(text=text, tokens=1, trained=bool(index % 2)) for index, text in enumerate(segments)
        )
    )
    return TuningPreview(
        base_model=BaseModelName("models/a"),
        hyperparameters=Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.0002),
        total_steps=1_250,
        example_count=1_000,
        dataset=DatasetPreview(
            total_tokens=12_345,
            trained_tokens=2_345,
            longest_tokens=99,
            longest_example=0,
            context_tokens=16_384,
            shown=(example,),
        ),
    )


def told(seen, **console):
    written = io.StringIO()
    preview.tell(Console(file=written, width=40, highlight=False, **console), seen, lambda index: f"line {index + 2}")
    return written.getvalue()


def lines(*segments):
    return told(of(*segments)).splitlines()[6:]


def test_the_summary_tells_steps_settings_and_tokens():
    assert told(of("a", "b")).splitlines()[:6] == [
        "models/a would be tuned in 1,250 steps: epochs 5, batch size 4, learning rate 0.0002",
        "1,000 examples, 12,345 tokens, 2,345 of them trained",
        "the longest example, line 2, has 99 tokens; the model takes 16,384",
        "how long a step takes is not known: it is measured over loaded bases, while no jobs are trained",
        "",
        "Example 1, line 2: 2 tokens, 1 trained",
    ]


def test_the_cost_is_told_where_the_server_has_a_price():
    # 12,345 tokens in five epochs.
    line = "all of it costs about 0.12, at 2 for a million tokens"

    assert told(replace(of("a", "b"), price=2.0)).splitlines()[3] == line
    assert "costs" not in told(of("a", "b"))


def test_every_line_says_whether_it_is_trained():
    assert lines("User:\n1\n", "2\n3</s>") == [
        "  given   │ User:⏎",
        "  given   │ 1⏎",
        "  TRAINED │ 2⏎",
        "  TRAINED │ 3</s>",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", [""]),
        ("\n", ["⏎"]),
        ("a\n\nb", ["a⏎", "⏎", "b"]),
        ("input: ", ["input:·"]),
        ("a  \nb", ["a··⏎", "b"]),
        ("a\rb", ["a<U+000D>b"]),
        ("\x1b[31mred", ["<U+001B>[31mred"]),
        ("\x9b31m", ["<U+009B>31m"]),
        ("abc\u202edef", ["abc<U+202E>def"]),
        ("a\u2028b", ["a\u2028b"]),
        ("[bold]x[/bold] :smile:", ["[bold]x[/bold] :smile:"]),
        ("七 👩‍🚀", ["七 👩‍🚀"]),
        ("x" * 100, ["x" * 100]),
    ],
)
def test_a_text_is_shown_as_it_is_except_for_what_would_disturb(text, shown):
    assert told(of(text)).split("\n")[6:-1] == [f"  given   │ {line}" for line in shown]


def test_of_a_very_long_text_the_beginning_and_the_end_are_shown():
    (line,) = lines("a" * 1_000 + "b" * 38_000 + "c" * 1_000)

    assert line == f"  given   │ {'a' * 1_000} … 38,000 characters … {'c' * 1_000}"


def test_colours_are_for_terminals_only():
    assert "\x1b" not in told(of("a", "b"))
    assert "\x1b[1;32mb" in told(of("a", "b"), force_terminal=True, color_system="standard")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_moves_the_cursor(text):
    written = told(of(text))

    assert not {character for character in written if character < " " or "\x7f" <= character < "\xa0"} - {"\n", "\t"}


@pytest.mark.parametrize(
    ("tokens_per_second", "said"),
    [
        (
            None,
            "how long a step takes is not known: it is measured over loaded bases, while no jobs are trained",
        ),
        (1_000.0, "a step takes about 0.1 s and all of them 62 s, as the server has measured it over this base"),
        (10.0, "a step takes about 4.9 s and all of them 1.7 h"),
        (0.4, "a step takes about 2.1 min and all of them 42.9 h"),
    ],
)
def test_how_long_a_step_takes_is_told_as_far_as_it_is_known(tokens_per_second, said):
    assert said in told(replace(of("1", "2"), tokens_per_second=tokens_per_second))


def test_a_long_example_is_told_apart():
    seen = replace(of("1", "2"), tokens_per_second=10.0)
    long = replace(seen, dataset=replace(seen.dataset, longest_tokens=9_000))

    assert "a step with the longest example takes about 15 min, or longer" in told(long)
    assert "a step with the longest example" in told(seen)


def test_the_temperature_is_told_with_what_the_outputs_are():
    labels = replace(of("a", "b"), temperature=0.0, answers=AnswerKind.LABELS)
    free = replace(of("a", "b"), temperature=0.9, answers=AnswerKind.FREE)

    assert told(labels).splitlines()[3] == (
        "asked without a temperature, the model will take 0, the likeliest token each time; its outputs are few short "
        "texts, each of which answers several inputs"
    )
    assert told(free).splitlines()[3] == (
        "asked without a temperature, the model will take 0.9; its outputs are free texts"
    )


def test_the_temperature_and_the_kind_of_outputs_are_read_where_the_server_tells_them():
    answer = {
        "baseModel": "models/a",
        "totalSteps": 1,
        "exampleCount": 1,
        "hyperparameters": {"epochCount": 1, "batchSize": 1, "learningRate": 0.1},
        "totalTokenCount": 2,
        "trainedTokenCount": 1,
        "longestExampleTokenCount": 2,
        "longestExample": 0,
        "contextTokenCount": 9,
    }

    def read(**told):
        seen = preview.parse(answer | told)
        return seen.temperature, seen.answers

    assert read(temperature=0, answers="JSON") == (0.0, AnswerKind.JSON)
    assert read(temperature=0.9, answers="A_LATER_KIND") == (0.9, None)
    assert read() == (None, None)
