"""`--help` of every command: words for people, at every width."""

import re
import subprocess
import sys

import pytest

import command_line_docs

GROUPS = ["", "keys", "auth", "auth application-default", "auth service-account", "groups"]
PATHS = [*GROUPS, *(path.removeprefix("tuningfork ") for path, _ in command_line_docs.commands())]


@pytest.mark.parametrize("columns", ["60", "80", "120", "300"])
@pytest.mark.parametrize("path", PATHS)
def test_a_help_text_fits_and_has_no_types_of_python(tuningfork, monkeypatch, path, columns):
    monkeypatch.setenv("COLUMNS", columns)

    ended = tuningfork(*path.split(), "--help")

    assert ended.code == 0
    usage, *lines = ended.output.splitlines()
    assert usage.startswith(f"Usage: tuningfork {path}".rstrip())
    # A command's name is not cut, however long it is.
    assert len(usage) <= int(columns) or usage.strip() == f"Usage: tuningfork {path}"
    assert max(map(len, lines)) <= min(int(columns), 120)
    assert not re.search(r"\bNone\b|Optional\[|list\[|<class|<\w+>|\bstr\b|\bint\b|\bbool\b|\bPath\b", ended.output)


def test_every_parameter_with_a_value_says_what_it_takes():
    without = [
        f"{path} {parameter.name}"
        for path, command in command_line_docs.commands()
        for parameter in command.params
        if parameter.metavar is None and (parameter.param_type_name == "argument" or not parameter.is_flag)
    ]

    assert without == []


def test_an_option_is_explained_with_its_default_and_its_variable(tuningfork, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    lines = " ".join(tuningfork("tune", "--help").output.split())

    assert "Usage: tuningfork tune [OPTIONS] FILE..." in lines
    assert (
        "--epochs NUMBER How often each example is seen. [default: the service's, 5; variable: TUNINGFORK_TUNE_EPOCHS]"
    ) in lines
    assert "--prefixes/--no-prefixes Begin each" in lines


def test_commands_are_listed_with_whole_sentences(tuningfork, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    output = tuningfork("--help").output

    assert "..." not in output.partition("Commands:")[2]
    sentence = "Fetch a tuned model's adapter, or the whole model, for PEFT and transformers or for llama.cpp."
    assert sentence in " ".join(output.split())


def test_help_and_completion_load_neither_the_client_nor_readers_of_files():
    program = "import sys, tuningfork.cli; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)

    assert not set(ended.stdout.split()) & {
        *("httpx", "rich.console", "rich.table", "rich.progress", "pydantic", "openpyxl", "pyarrow"),
        *("tuningfork.client.gemini", "tuningfork.client.training_files", "tuningfork.training_files.recognition"),
        "tuningfork.domain.tuning_job",
    }
