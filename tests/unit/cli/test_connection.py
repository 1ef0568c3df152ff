"""Which server a command talks to, and with which key."""

import socket

import dialect_service
from tuningfork.cli.connection import key_for


def leave_key(tmp_path, monkeypatch, key=dialect_service.KEY):
    (tmp_path / "api-key").write_text(key + "\n")
    monkeypatch.setenv("TUNINGFORK_DATA_DIR", str(tmp_path))


def test_without_a_key_the_one_that_the_first_start_left_is_taken(tuningfork, monkeypatch, tmp_path):
    monkeypatch.delenv("TUNINGFORK_API_KEY")
    leave_key(tmp_path, monkeypatch)

    assert tuningfork("models").code == 0


def test_a_key_that_is_given_wins(tuningfork, monkeypatch, tmp_path):
    leave_key(tmp_path, monkeypatch, "another")

    assert tuningfork("models", "--api-key", dialect_service.KEY).code == 0


def test_the_local_key_is_not_sent_to_other_machines(monkeypatch, tmp_path):
    leave_key(tmp_path, monkeypatch)

    assert key_for("http://localhost:8000", None) == dialect_service.KEY
    assert key_for("https://tuning.example.org", None) is None


def test_no_key_at_all_says_how_to_get_one(tuningfork, monkeypatch):
    monkeypatch.delenv("TUNINGFORK_API_KEY")

    ended = tuningfork("models")

    assert ended.code == 1
    assert "tuningfork keys create" in ended.errors


def test_a_wrong_key_says_how_to_get_a_right_one(tuningfork):
    ended = tuningfork("models", "--api-key", "wrong")

    assert ended.code == 1
    assert "API key not valid." in ended.errors
    assert "tuningfork keys create" in ended.errors


def test_no_server_says_how_to_start_one(tuningfork):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    ended = tuningfork("models", "--url", f"http://127.0.0.1:{port}")

    assert ended.code == 1
    assert ended.errors.splitlines()[0] == f"Error: No server answers at http://127.0.0.1:{port}."
    assert "tuningfork serve" in ended.errors


def test_every_option_is_a_variable_too(tuningfork, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNINGFORK_EXPORT_TO", str(tmp_path / "out"))

    assert "does not exist" in tuningfork("export", "nobody").errors


def test_wrong_usage_is_code_two(tuningfork):
    assert tuningfork("tune").code == 2
    assert tuningfork("no-such-command").code == 2
    assert tuningfork("models", "--no-such-option").code == 2
