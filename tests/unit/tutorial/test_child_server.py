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


def test_its_settings_are_not_those_of_another_server(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNINGFORK_NO_AUTH", "true")
    monkeypatch.setenv("TUNINGFORK_PORT", "wrong")
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(tmp_path / "missing.toml"))

    with child("print()") as process:
        settings = child_server.ChildServer("http://127.0.0.1:1", tmp_path, process).settings

    assert settings.data_dir == tmp_path / "data"
    assert settings.key_file.parent == tmp_path / "data"
    assert (settings.no_auth, settings.config) == (False, None)


def test_old_data_are_removed_and_the_rest_is_left(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / child_server.MARK).touch()
    (tmp_path / "data" / "tuningfork.db").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")

    child_server.clear(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "notes.txt"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == [child_server.MARK]
    child_server.clear(tmp_path)


def test_data_that_no_tutorial_made_are_never_removed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tuningfork.db").write_text("a real server's")

    with pytest.raises(ClientError, match="was not made by a tutorial"):
        child_server.clear(tmp_path)

    assert (tmp_path / "data" / "tuningfork.db").read_text() == "a real server's"


def test_data_of_an_earlier_versions_tutorial_are_known_by_its_default_directory(tmp_path):
    (tmp_path / ".tutorial" / "data").mkdir(parents=True)
    (tmp_path / ".tutorial" / "data" / "tuningfork.db").write_text("old")

    child_server.clear(tmp_path / ".tutorial")

    assert not (tmp_path / ".tutorial" / "data" / "tuningfork.db").exists()


def test_data_of_a_server_that_still_runs_are_not_touched(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / child_server.MARK).touch()
    with (tmp_path / "data" / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(ClientError, match="still uses"):
            child_server.clear(tmp_path)

    assert (tmp_path / "data" / "server.lock").exists()


def test_a_directory_that_cannot_be_made_ready_is_an_error(tmp_path):
    tmp_path.joinpath("data").write_text("not a directory")

    with pytest.raises(ClientError, match="cannot be made ready"):
        child_server.clear(tmp_path)


def test_where_it_listens_is_what_the_server_says_itself_in_a_whole_line(tmp_path):
    with child("print()") as process:
        server = child_server.ChildServer("", tmp_path, process)
    told = []
    for said in ("", "  URL             http://127.0.0.1:80", "  URL             http://127.0.0.1:8001\n  data"):
        server.log.write_text(f"Tuningfork 1.0\n{said}")
        told.append((child_server._tells_url(server), server.url))

    assert told == [(False, ""), (False, ""), (True, "http://127.0.0.1:8001")]
