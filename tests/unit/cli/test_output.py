"""Output in any encoding, to pipes that are closed, to full disks, and without colours."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dialect_service

ODD = "é 七 🧪 → │ …"
"""Characters of one byte and of several, and some of those that this program draws with."""

FULL = Path("/dev/full")

ENCODINGS = ["ascii", "cp1252", "cp437", "cp932", "latin-1", "utf-8", "utf-16"]


@pytest.fixture
def model(service):
    pairs = [{"textInput": "1", "output": ODD}, {"textInput": ODD, "output": "2"}]
    examples = {"examples": {"examples": pairs}}
    body = {"displayName": ODD, "tuningTask": {"hyperparameters": {}, "trainingData": examples}}
    service.create({"baseModel": "models/tuningfork-mini-001", **body}, "mine")
    return "tunedModels/mine"


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs é 七.jsonl"
    path.write_text(json.dumps({"text_input": "é 七 🧪", "output": "→ │"}), encoding="utf-8")
    return path


def commands(model, pairs):
    return {
        "models": ("models",),
        "jobs": ("jobs",),
        "generate": ("generate", model, "1"),
        "stream": ("generate", model, "1", "--stream"),
        "json": ("generate", model, "1", "--json"),
        "tune": ("tune", pairs),
        "dry run": ("tune", pairs, "--dry-run"),
        "error": ("tune", f"{pairs}✓"),
        "usage": ("tunе",),  # noqa: RUF001 - a Cyrillic letter
        "help": ("tune", "--help"),
    }


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_text_can_be_written_in_every_encoding(
    tuningfork, monkeypatch, become_terminal, model, pairs, encoding, terminal
):
    for name, arguments in commands(model, pairs).items():
        streams = {each: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for each in ("stdout", "stderr")}
        for stream, writer in streams.items():
            monkeypatch.setattr(f"sys.{stream}", writer)
            if terminal:
                become_terminal(writer)

        ended = tuningfork(*arguments)

        assert ended.code == {"error": 1, "usage": 2}.get(name, 0), name
        written = {each: stream.buffer.getvalue() for each, stream in streams.items()}
        assert written["stderr" if name in {"error", "usage"} else "stdout"]
        if name != "usage":  # Typer writes a word of the command line as UTF-8, where the encoding is ASCII.
            assert [each.decode(encoding) for each in written.values()]


def printed(tuningfork, monkeypatch, encoding, *arguments):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    assert tuningfork(*arguments).code == 0
    return stream.buffer.getvalue().decode(encoding)


def test_an_answer_is_never_changed_into_another_one(tuningfork, monkeypatch, model):
    ascii_only = printed(tuningfork, monkeypatch, "ascii", "generate", model, "1")
    western = printed(tuningfork, monkeypatch, "cp1252", "generate", model, "1")

    assert ascii_only == "\\xe9 \\u4e03 \\U0001f9ea \\u2192 \\u2502 \\u2026\n"
    assert western == "é \\u4e03 \\U0001f9ea \\u2192 \\u2502 …\n"


def test_what_is_drawn_has_a_form_in_ascii(tuningfork, monkeypatch, pairs):
    shown = printed(tuningfork, monkeypatch, "ascii", "tune", pairs, "--dry-run")

    assert "  given   | User:$\n" in shown
    assert "  TRAINED | -> |</s>\n" in shown


def test_json_is_the_same_in_every_encoding(tuningfork, monkeypatch, model):
    answers = {printed(tuningfork, monkeypatch, each, "generate", model, "1", "--json") for each in ENCODINGS}

    (answer,) = answers
    assert json.loads(answer)["candidates"][0]["content"]["parts"][0]["text"] == ODD


def test_another_way_that_was_chosen_stays(tuningfork, monkeypatch, model):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace"))

    assert tuningfork("models").code == 0
    assert sys.stdout.errors == "replace"


# As processes


@pytest.fixture
def begin(service, tmp_path):
    """Begins a command as a process."""

    def run(*arguments, variables=None, **streams):
        clean = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHONPATH"))}
        environment = {
            **clean,
            "TUNINGFORK_URL": service.url,
            "TUNINGFORK_API_KEY": dialect_service.KEY,
            "XDG_CONFIG_HOME": str(tmp_path),
            "HOME": str(tmp_path),
            **(variables or {}),
        }
        command = [sys.executable, "-m", "tuningfork", *map(str, arguments)]
        return subprocess.Popen(command, env=environment, **{"stderr": subprocess.PIPE, **streams})

    return run


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252", "TERM": "dumb"},
        {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "NO_COLOR": "1"},
    ],
    ids=lambda each: " ".join(f"{name}={value}" for name, value in each.items()),
)
def test_a_process_writes_in_the_encoding_of_its_environment(begin, pairs, variables):
    process = begin("tune", pairs, variables=variables, stdout=subprocess.PIPE)
    output, errors = process.communicate(timeout=300)

    assert (process.returncode, output) == (0, b"tunedModels/m-1\n"), errors
    assert b"Traceback" not in errors
    assert b"\x1b[3" not in errors


@pytest.mark.parametrize("arguments", [("models",), ("models", "--json"), ("--help",), ("tune", "--help")])
def test_a_closed_pipe_ends_a_command_quietly(begin, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    process = begin(*arguments, stdout=writing)
    os.close(writing)
    _, errors = process.communicate(timeout=300)

    assert (process.returncode, errors) == (1, b"")


def test_a_closed_pipe_of_errors_ends_a_command_quietly_and_the_run_goes_on(begin, service, pairs):
    reading, writing = os.pipe()
    os.close(reading)
    process = begin("tune", pairs, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    process.communicate(timeout=300)

    assert process.returncode == 1
    assert service.tuned.keys() <= {"tunedModels/m-1"}


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [("models",), ("models", "--json"), ("--help",)])
def test_a_full_disk_is_a_sentence(begin, arguments):
    with FULL.open("wb") as full:
        process = begin(*arguments, stdout=full)
        _, errors = process.communicate(timeout=300)

    assert (process.returncode, errors) == (1, b"Error: Standard output cannot be written: No space left on device.\n")


def test_without_standard_streams_a_command_does_its_work(service, pairs, tmp_path):
    script = f'exec "{sys.executable}" -m tuningfork tune "$0" >&- 2>&-'
    environment = {
        **os.environ,
        "TUNINGFORK_URL": service.url,
        "TUNINGFORK_API_KEY": dialect_service.KEY,
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    ended = subprocess.run(["sh", "-c", script, pairs], env=environment, timeout=300, check=False)

    assert ended.returncode == 0
    assert "tunedModels/m-1" in service.tuned


def test_no_color_turns_colours_off(begin):
    process = begin("delete", "nobody", variables={"FORCE_COLOR": "1", "NO_COLOR": "1"}, stdout=subprocess.PIPE)
    _, errors = process.communicate(timeout=300)

    assert b"Error: Tuned model tunedModels/nobody does not exist." in errors
    assert b"\x1b[3" not in errors
