"""A child process answers, and its end is noticed however it comes."""

import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from patience import PATIENCE_SECONDS, wait_until
from tuningfork.execution.local.child import GRACE_SECONDS, Child
from tuningfork.execution.local.child import SILENCE_SECONDS as USUAL_SILENCE_SECONDS
from tuningfork.execution.local.endings import Ending

TOYS = Path(__file__).parents[3] / "toy_workers"
PATHS = os.pathsep.join([str(TOYS), os.environ.get("PYTHONPATH", "")])
SILENCE_SECONDS = 3.0
"""Longer than a child of a busy machine is ever silent."""


class Spy:
    def __init__(self, **options):
        self.messages = queue.SimpleQueue()
        self.deaths = queue.SimpleQueue()
        self.child = Child(
            "echo_worker",
            on_message=self.messages.put,
            on_death=self.deaths.put,
            environment={"PYTHONPATH": PATHS, "COLOUR": "blue"},
            **options,
        )

    def first_answer(self):
        self.child.send("up?")
        self.messages.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def spy():
    spy = Spy(grace_seconds=PATIENCE_SECONDS)
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

    assert ended(spy) == Ending(exit_code=exit_code)
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
    assert ended(spy) == Ending(exit_code=0)


def test_sending_to_a_stopped_child_waits_for_nothing_and_its_silence_ends_it():
    spy = Spy(silence_seconds=SILENCE_SECONDS)
    spy.first_answer()
    stop(spy.child.pid)
    began = time.monotonic()
    taken = [spy.child.send(b"x" * 2**20) for _ in range(40)]
    sent_seconds = time.monotonic() - began
    ending = ended(spy)
    spy.child.close()

    # The pipe holds some hundred KiB; written by the sender, the first messages would have waited for the child's end.
    assert all(taken)
    assert sent_seconds < SILENCE_SECONDS
    assert ending == Ending(exit_code=-signal.SIGKILL, silent_seconds=SILENCE_SECONDS)


def test_what_waits_for_a_stopped_child_is_bounded():
    spy = Spy()
    spy.first_answer()
    stop(spy.child.pid)
    taken = [spy.child.send(b"x" * 2**24) for _ in range(10)]
    always = spy.child.send("short", always=True)
    os.kill(spy.child.pid, signal.SIGCONT)
    answers = [spy.messages.get(timeout=PATIENCE_SECONDS)[1] for _ in range(sum(taken) + 1)]
    spy.child.close()

    assert taken == sorted(taken, reverse=True)
    assert 3 <= sum(taken) <= 5
    assert always
    assert answers == [*[b"x" * 2**24] * sum(taken), "short"]


def test_a_child_that_computes_is_not_silent():
    spy = Spy(silence_seconds=SILENCE_SECONDS, grace_seconds=PATIENCE_SECONDS)
    spy.first_answer()
    spy.child.send("busy")
    answer = spy.messages.get(timeout=PATIENCE_SECONDS)
    spy.child.close()

    assert answer[1] == "busy"
    assert ended(spy) == Ending(exit_code=0)


def test_closing_a_stopped_child_takes_no_longer_than_its_grace():
    spy = Spy()
    spy.first_answer()
    stop(spy.child.pid)
    spy.child.send(b"x" * 2**22)
    began = time.monotonic()
    spy.child.close()

    # Whoever waited for the child's silence would wait for half a minute.
    assert time.monotonic() - began < max(GRACE_SECONDS, 2 * USUAL_SILENCE_SECONDS / 3)
    assert not spy.child.alive
    assert spy.deaths.get(timeout=PATIENCE_SECONDS).exit_code == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("end", ["by its silence", "by closing"])
def test_a_child_that_cannot_be_killed_is_given_up(end, caplog):
    spy = Spy(**({"silence_seconds": SILENCE_SECONDS} if end == "by its silence" else {}))
    spy.first_answer()
    stop(spy.child.pid)
    # As with a process that waits in the kernel for a device, the signal has no effect.
    spy.child._process.kill = lambda: None
    closing = threading.Thread(target=spy.child.close if end == "by closing" else lambda: None, daemon=True)
    closing.start()
    try:
        ending = spy.deaths.get(timeout=PATIENCE_SECONDS)
        closing.join(PATIENCE_SECONDS)
        closed = not closing.is_alive()
    finally:
        os.kill(spy.child.pid, signal.SIGKILL)
        spy.child._process.wait()

    assert (ending.exit_code, closed) == (-signal.SIGKILL, True)
    assert f"worker {spy.child.pid} does not end although it was killed" in caplog.text


def test_a_child_ends_when_its_server_is_killed(tmp_path):
    pid_file = tmp_path / "pid"
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import queue, time, pathlib
                from tuningfork.execution.local.child import Child
                answers = queue.SimpleQueue()
                child = Child("echo_worker", on_message=answers.put, on_death=print, environment={{}})
                child.send("up?")
                answers.get()
                pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))
                time.sleep(600)
            """),
        ],
        env={**os.environ, "PYTHONPATH": PATHS},
    )
    try:
        pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))
    finally:
        server.kill()
        server.wait()

    assert wait_until(lambda: not is_running(pid))


def ended(spy):
    """How the child ended, apart from what other processes of this machine met meanwhile."""
    return replace(spy.deaths.get(timeout=PATIENCE_SECONDS), memory_kills=0)


def stop(pid):
    """Stop the process, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
