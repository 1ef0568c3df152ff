"""The tutorial's own server as a process. That it serves is shown in the acceptance tests."""

import fcntl
import signal
import subprocess
import sys

import pytest

from tuningfork.client import ClientError
from tuningfork.tutorial import child_server


def child(program):
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def test_a_server_is_asked_to_end():
    process = child("import time; print(flush=True); time.sleep(60)")

    child_server.stop(process)

    assert process.returncode == -signal.SIGTERM


def test_a_server_that_does_not_listen_is_ended_all_the_same():
    process = child(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    )

    child_server.stop(process, patience_seconds=0.1)

    assert process.returncode == -signal.SIGKILL


def test_a_server_that_is_gone_is_fine():
    process = child("print()")
    process.wait()

    child_server.stop(process)

    assert process.returncode == 0


def test_old_data_are_removed_and_the_rest_is_left(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tuningfork.db").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")

    child_server.clear(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_data_of_a_server_that_still_runs_are_not_touched(tmp_path):
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(ClientError, match="still uses"):
            child_server.clear(tmp_path)

    assert (tmp_path / "data" / "server.lock").exists()


def test_a_directory_that_cannot_be_made_ready_is_an_error(tmp_path):
    tmp_path.joinpath("data").write_text("not a directory")

    with pytest.raises(ClientError, match="cannot be made ready"):
        child_server.clear(tmp_path)
