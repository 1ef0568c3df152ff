"""`tuningfork generate`: a prompt in, a text out."""

import io
import sys

import pytest


def test_the_answer_is_all_of_the_output(tuningfork):
    ended = tuningfork("generate", "models/tuningfork-mini-001", "七 [bold]")

    assert (ended.code, ended.output, ended.errors) == (0, "七 [bold]\n", "")


def test_an_answer_is_fetched_in_pieces_so_that_one_that_takes_long_is_not_given_up(tuningfork, service):
    tuningfork("generate", "models/tuningfork-mini-001", "LXIII")

    assert service.asked_by == ["streamGenerateContent"]


def test_a_negative_number_is_a_prompt(tuningfork):
    assert tuningfork("generate", "models/tuningfork-mini-001", "-42", "--temperature", "0").output == "-42\n"


@pytest.mark.parametrize("arguments", [("--strem",), ("7", "--strem"), ("--strem", "7")])
def test_a_mistyped_option_is_no_prompt(tuningfork, service, arguments):
    ended = tuningfork("generate", "models/tuningfork-mini-001", *arguments)

    assert ended.code == 2
    assert "--strem" in ended.errors
    assert service.bodies == []


def test_a_stream_is_written_piece_by_piece_and_ends_its_line(tuningfork):
    assert tuningfork("generate", "models/tuningfork-mini-001", "LXIII", "--stream").output == "LXIII\n"


@pytest.mark.parametrize("arguments", [(), ("--stream",)])
def test_on_a_terminal_an_answer_does_not_disturb(tuningfork, become_terminal, arguments):
    prompt = "a\x1b[2J\n\tb"
    assert tuningfork("generate", "models/tuningfork-mini-001", prompt, *arguments).output == f"{prompt}\n"

    become_terminal()
    shown = tuningfork("generate", "models/tuningfork-mini-001", prompt, *arguments).output
    assert shown == "a<U+001B>[2J\n\tb\n"


def test_a_dash_reads_the_prompt_from_standard_input(tuningfork, service, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))

    tuningfork("generate", "models/tuningfork-mini-001", "-")

    assert service.bodies[-1]["contents"] == [{"role": "user", "parts": [{"text": "two\nlines"}]}]


def test_standard_input_that_is_no_text_is_an_error(tuningfork, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))

    ended = tuningfork("generate", "models/tuningfork-mini-001", "-")

    assert (ended.code, ended.errors) == (1, "Error: The standard input is not UTF-8 text.\n")


def test_sampling_is_sent_as_it_was_said(tuningfork, service):
    tuningfork("generate", "models/tuningfork-mini-001", "x", "--temperature", "0", "--max-output-tokens", "3")

    assert service.bodies[-1]["generationConfig"] == {"temperature": 0.0, "maxOutputTokens": 3}


def test_a_name_without_its_kind_is_wrong_usage(tuningfork):
    ended = tuningfork("generate", "mine", "x")

    assert ended.code == 2
    assert "tunedModels/mine" in ended.errors


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_a_missing_model_is_an_error_in_one_line(tuningfork, options):
    ended = tuningfork("generate", "tunedModels/nobody", "x", *options)

    assert (ended.code, ended.output) == (1, "")
    assert ended.errors == "Error: Tuned model tunedModels/nobody does not exist.\n"
