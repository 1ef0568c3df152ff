"""The story as it is told, against a server that speaks the dialect and learns by heart."""

import io

import pytest
from rich.console import Console

import dialect_service
from tuningfork.client import Client, ClientError
from tuningfork.tutorial import lesson, story


@pytest.fixture(scope="module")
def service():
    with dialect_service.running() as running:
        yield running


def told(service, directory, *, terminal=False):
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=terminal, color_system=None, highlight=False)
    with Client(service.url, dialect_service.KEY, sleep=lambda _seconds: None) as client:
        answers = story.tell(console, client, directory)
    return answers, output.getvalue()


@pytest.fixture(scope="module")
def story_in_plain_lines(service, tmp_path_factory):
    service.forget()
    directory = tmp_path_factory.mktemp("story")
    answers, text = told(service, directory)
    return answers, text, directory, service.bodies[0]


def test_it_posts_watches_draws_and_asks_both_models(story_in_plain_lines):
    answers, text, directory, body = story_in_plain_lines

    assert body["displayName"] == "number generator"
    assert "seven → eight" in text
    assert "step 19/19 · epoch 5 · mean loss 0.105" in text
    assert "2 ┤⢣" in text
    assert (directory / "loss.png").stat().st_size > 1_000
    assert [answered.question for answered in answers] == list(lesson.QUESTIONS)


def test_what_was_not_understood_is_marked_and_counted(story_in_plain_lines):
    _, text, _, _ = story_in_plain_lines

    assert "✗ LXIII, not LXIV" in text
    assert "Right: the base model 0 of 15, the tuned model 0." in text
    assert "None of these prompts is among the examples" in text


def test_without_a_terminal_there_are_only_plain_lines_that_fit(story_in_plain_lines):
    _, text, _, _ = story_in_plain_lines

    assert "\x1b" not in text
    assert "\r" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_on_a_terminal_it_is_told_too(service, tmp_path):
    service.forget()

    _, text = told(service, tmp_path, terminal=True)

    assert "✓" in text


def test_a_run_that_fails_ends_the_story(service, tmp_path):
    service.forget()
    service.fail_with = "the trainer ran out of memory"

    with pytest.raises(ClientError, match="out of memory"):
        told(service, tmp_path)
