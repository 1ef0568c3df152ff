"""`tuningfork completion`: what shells are told when somebody presses the tabulator key."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

import command_line_docs

COMMANDS = command_line_docs.commands()


@pytest.fixture
def completed(tuningfork, monkeypatch):
    """The completions of a command line in bash, whose last word is the one that has been begun."""

    def complete(*words):
        monkeypatch.setenv("_TUNINGFORK_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["tuningfork", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return tuningfork().output.split()

    return complete


def test_all_commands_are_completed(completed):
    groups = {path.removeprefix("tuningfork ").partition(" ")[0] for path, _ in COMMANDS}

    assert set(completed("")) == groups
    assert completed("mod") == ["models"]
    assert completed("keys", "") == ["create", "list", "revoke"]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda each: each if isinstance(each, str) else "")
def test_all_options_of_a_command_are_completed(completed, path, command):
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}

    found = completed(*path.split()[1:], "--")

    assert set(found) == {name for name in options if name.startswith("--")} | {"--help"}


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "tuningfork mod"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "tuningfork mod", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_other_shells_are_told_too_with_an_explanation(tuningfork, monkeypatch, shell, asked):
    for name, value in {"_TUNINGFORK_COMPLETE": f"complete_{shell}", **asked}.items():
        monkeypatch.setenv(name, value)

    output = tuningfork().output

    assert "models" in output
    assert "List the base models" in output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(tuningfork, shell):
    script = tuningfork("completion", shell).output

    assert "tuningfork" in script
    assert f"_TUNINGFORK_COMPLETE=complete_{shell}" in script


def test_an_unknown_shell_is_wrong_usage(tuningfork):
    assert tuningfork("completion", "tcsh").code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script(tmp_path):
    program = tmp_path / "tuningfork"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tuningfork "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    typed = """
        eval "$(tuningfork completion bash)"
        COMP_WORDS=(tuningfork tune --de) COMP_CWORD=2
        $(complete -p tuningfork | sed 's/.*-F \\([^ ]*\\) .*/\\1/') tuningfork
        echo "${COMPREPLY[@]}"
    """
    ended = subprocess.run(
        ["bash", "--norc", "-c", typed],
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    assert ended.stdout == "--detach\n"
