"""Ctrl-C, sent to real processes: what they print last, and that it works when it is pasted."""

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

import dialect_service
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.cli.connection import LOCAL_URL
from tuningfork.cli.following import url_option


@pytest.fixture
def program(tmp_path):
    """A folder with the program, for commands that are pasted into a shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "tuningfork"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tuningfork "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def environment(program, tmp_path):
    """Variables without a server, and with the key for it, as a person has exported it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUNINGFORK_", "_TUNINGFORK"))}
    return {
        **kept,
        "PATH": f"{program}{os.pathsep}{os.environ['PATH']}",
        "TUNINGFORK_API_KEY": dialect_service.KEY,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


@pytest.fixture
def begin(environment):
    """Begins a command as a process."""
    begun = []

    def run(*arguments, without=(), **streams):
        variables = {name: value for name, value in environment.items() if name not in without}
        process = subprocess.Popen(
            ["tuningfork", *map(str, arguments)],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **streams,
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def paste(environment):
    """Runs a line as a person pastes it into a shell."""

    def run(line):
        return subprocess.run(
            ["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )

    return run


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("text_input,output\n1,2\n3,4\n7,8\n")
    return path


def interrupted(process, after):
    """Interrupt a process when it has written a line with these words; its code, output and further errors."""
    for line in process.stderr:
        if after in line:
            break
    else:
        pytest.fail(f"it ended without saying {after!r}")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output, errors


def commands(errors):
    """The lines to paste."""
    return [line.strip() for line in errors.splitlines() if line.startswith("  tuningfork ")]


def test_what_an_interrupted_tune_says_last_can_be_pasted(begin, service, pairs, paste):
    service.frozen = True
    code, output, errors = interrupted(begin("tune", pairs, "--url", service.url), "waiting to begin")

    assert (code, output) == (130, "tunedModels/m-1\n")
    watch, cancel, delete = commands(errors)
    assert watch == f"tuningfork watch tunedModels/m-1 --url {service.url}"
    service.frozen = False
    assert paste(watch).stdout == "tunedModels/m-1\n"
    assert paste(cancel).stdout == "tunedModels/m-1\n"
    assert paste(delete).returncode == 0
    assert service.tuned == {}
    assert "--api-key" not in errors


def test_a_key_that_was_typed_is_asked_for_again_and_not_shown(begin, service, pairs):
    service.frozen = True
    process = begin(
        *("tune", pairs, "--url", service.url, "--api-key", dialect_service.KEY), without=["TUNINGFORK_API_KEY"]
    )
    code, output, errors = interrupted(process, "waiting to begin")

    assert (code, output) == (130, "tunedModels/m-1\n")
    assert "Add --api-key as before, or log in once with the key:" in errors
    assert commands(errors)[-1] == f"tuningfork auth login --url {service.url}"
    assert dialect_service.KEY not in errors


def test_an_interrupted_watch_says_the_same(begin, service, pairs):
    begin("tune", pairs, "--url", service.url, "--detach").wait(PATIENCE_SECONDS)
    service.frozen = True
    code, output, errors = interrupted(begin("watch", "m-1", "--url", service.url), "waiting to begin")

    assert (code, output) == (130, "tunedModels/m-1\n")
    assert [line.split()[1] for line in commands(errors)] == ["watch", "cancel", "delete"]


def test_an_interrupted_run_is_printed_as_json(begin, service, pairs):
    service.frozen = True
    code, output, _ = interrupted(begin("tune", pairs, "--json", "--url", service.url), "waiting to begin")

    assert code == 130
    assert json.loads(output)["metadata"]["tunedModel"] == "tunedModels/m-1"


@pytest.mark.parametrize("further", [(), ("--detach",), ("--json",)])
def test_an_interrupt_before_the_server_has_answered_says_how_to_find_out(begin, service, pairs, paste, further):
    service.may_answer.clear()
    process = begin("tune", pairs, "--url", service.url, *further)
    wait_until(lambda: service.tuned, what="the request has come")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    service.may_answer.set()

    assert (process.returncode, output) == (130, "")
    assert "may have begun or not" in errors
    (jobs,) = commands(errors)
    assert paste(jobs).stdout.startswith("tunedModels/m-1\twaiting")


def test_an_interrupt_while_examples_are_read_is_quiet(begin, service):
    process = begin("tune", "-", "--url", service.url, stdin=subprocess.PIPE)
    # More than a pipe holds: this returns after the process has begun to read.
    process.stdin.write("text_input,output\n" + "1,2\n" * 100_000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert (process.returncode, output, errors) == (130, "", "")
    assert service.tuned == {}


def test_names_and_addresses_that_a_shell_would_read_are_quoted(begin, service):
    name = "a;touch$IFS$HOME`id`'\"&|*"
    body = {"hyperparameters": {}, "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}}
    service.create({"baseModel": "models/tuningfork-mini-001", "tuningTask": body}, name)
    service.frozen = True
    code, output, errors = interrupted(begin("watch", name, "--url", service.url), "waiting to begin")

    assert (code, output) == (130, f"tunedModels/{name}\n")
    for line in commands(errors):
        assert shlex.split(line)[2:] == [f"tunedModels/{name}", "--url", service.url]
    assert shlex.split(url_option("http://$(id);x'y")) == ["--url", "http://$(id);x'y"]


@pytest.mark.parametrize("exported", [True, False])
def test_the_address_is_left_out_only_where_commands_would_call_it_anyway(tuningfork, service, monkeypatch, exported):
    if not exported:
        monkeypatch.delenv("TUNINGFORK_URL")
    elsewhere = "" if not exported else f" --url {LOCAL_URL}"

    assert url_option(LOCAL_URL) == elsewhere
    assert tuningfork("auth", "login", "--url", service.url).code == 0
    assert url_option(LOCAL_URL) == f" --url {LOCAL_URL}"
