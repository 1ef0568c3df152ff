"""A child process answers, and its end is noticed however it comes."""

import os
import queue
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tuningfork.execution.child import Child

TOYS = Path(__file__).parents[2] / "toy_workers"
PATIENCE_SECONDS = 20.0


class Spy:
    def __init__(self):
        self.messages = queue.SimpleQueue()
        self.deaths = queue.SimpleQueue()
        self.child = Child(
            "echo_worker",
            on_message=self.messages.put,
            on_death=self.deaths.put,
            environment={"PYTHONPATH": str(TOYS), "COLOUR": "blue"},
        )


@pytest.fixture
def spy():
    spy = Spy()
    yield spy
    spy.child.close()


def test_a_child_answers_messages_and_sees_the_environment_it_was_given(spy):
    spy.child.send({"n": 1})

    assert spy.messages.get(timeout=PATIENCE_SECONDS) == ("echo", {"n": 1}, "blue")
    assert spy.child.alive


@pytest.mark.parametrize(("how", "exit_code"), [("exit", 3), ("killed", -signal.SIGKILL)])
def test_the_end_of_a_child_is_told_once_after_its_last_message(spy, how, exit_code):
    spy.child.send("last words")
    spy.child.send(how)

    assert spy.deaths.get(timeout=PATIENCE_SECONDS) == exit_code
    assert spy.messages.get_nowait()[1] == "last words"
    assert not spy.child.alive
    spy.child.send("nobody hears this")
    spy.child.close()
    assert spy.deaths.empty()


def test_closing_ends_the_child(spy):
    spy.child.send("hello")
    spy.messages.get(timeout=PATIENCE_SECONDS)

    spy.child.close()

    assert not spy.child.alive
    assert spy.deaths.get(timeout=PATIENCE_SECONDS) == 0


def test_a_child_ends_when_its_server_is_killed(tmp_path):
    pid_file = tmp_path / "pid"
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import queue, time, pathlib
                from tuningfork.execution.child import Child
                answers = queue.SimpleQueue()
                child = Child("echo_worker", on_message=answers.put, on_death=print, environment={{}})
                child.send("up?")
                answers.get()
                pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))
                time.sleep(600)
            """),
        ],
        env={**os.environ, "PYTHONPATH": str(TOYS)},
    )
    try:
        pid = int(wait_for(lambda: pid_file.exists() and pid_file.read_text()))
    finally:
        server.kill()
        server.wait()

    assert wait_for(lambda: not is_running(pid))


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
