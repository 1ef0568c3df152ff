"""`tuningfork auth`: what is remembered, for which server, and which token is printed."""

import json
import stat
from datetime import timedelta

import pytest

import dialect_service
from tuningfork.cli.auth import DEFAULT_SCOPES

READONLY = "https://www.googleapis.com/auth/generative-language.tuning.readonly"


@pytest.fixture
def credentials(tmp_path):
    return tmp_path / "config" / "tuningfork" / "credentials.json"


@pytest.fixture
def stranger(tuningfork, monkeypatch):
    """Commands without any variable that names a server or a key."""
    monkeypatch.delenv("TUNINGFORK_URL")
    monkeypatch.delenv("TUNINGFORK_API_KEY")
    return tuningfork


@pytest.fixture
def logged_in(stranger, service):
    assert stranger("auth", "login", "--url", service.url, "--api-key", dialect_service.KEY).code == 0
    return stranger


def test_after_a_login_no_command_needs_a_server_or_a_key(logged_in):
    assert logged_in("models").code == 0
    assert logged_in("auth", "print-access-token").code == 0


def test_a_login_prints_nothing_that_is_secret(stranger, service):
    ended = stranger("auth", "login", "--url", service.url, "--api-key", dialect_service.KEY)

    assert ended.output == ""
    assert service.url in ended.errors
    assert dialect_service.KEY not in ended.errors


def test_only_its_user_can_read_what_is_remembered(logged_in, credentials):
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.parent.stat().st_mode) == 0o700
    assert [path.name for path in credentials.parent.iterdir()] == [credentials.name]


def test_a_wrong_key_is_not_remembered(stranger, service, credentials):
    ended = stranger("auth", "login", "--url", service.url, "--api-key", "wrong")

    assert ended.code == 1
    assert "API key not valid." in ended.errors
    assert not credentials.exists()


def test_a_key_may_come_through_a_pipe(stranger, service, monkeypatch, tmp_path):
    (tmp_path / "key").write_text(f"{dialect_service.KEY}\n")
    with (tmp_path / "key").open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        ended = stranger("auth", "login", "--url", service.url)

    assert ended.code == 0
    assert stranger("models").code == 0


def test_no_key_at_all_says_how_to_get_one(stranger, service, monkeypatch, tmp_path):
    (tmp_path / "nothing").touch()
    with (tmp_path / "nothing").open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        ended = stranger("auth", "login", "--url", service.url)

    assert ended.code == 1
    assert "tuningfork keys create" in ended.errors


def test_a_server_on_this_machine_needs_no_typing(stranger, service, monkeypatch, tmp_path):
    (tmp_path / "api-key").write_text(f"{dialect_service.KEY}\n")
    monkeypatch.setenv("TUNINGFORK_DATA_DIR", str(tmp_path))

    assert stranger("auth", "login", "--url", service.url).code == 0


def test_a_remembered_key_is_not_sent_to_another_server(logged_in, service):
    with dialect_service.running() as other:
        ended = logged_in("models", "--url", other.url)

    assert ended.code == 1
    assert "unregistered callers" in ended.errors


def test_a_key_that_is_given_is_not_sent_to_the_remembered_server(logged_in, service, monkeypatch):
    # Why: at the address where a local server usually is, a real one may be running on this machine.
    monkeypatch.setattr("tuningfork.cli.connection.LOCAL_URL", "http://127.0.0.1:9")

    ended = logged_in("models", "--api-key", dialect_service.KEY)

    assert "http://127.0.0.1:9" in ended.errors


def test_a_token_is_printed_and_nothing_else(logged_in):
    ended = logged_in("auth", "print-access-token")

    assert (ended.output, ended.errors) == ("token-1\n", "")


def test_a_token_is_kept_until_shortly_before_it_expires(logged_in, service, tuningfork):
    assert {logged_in("auth", "print-access-token").output for _ in range(3)} == {"token-1\n"}

    service.token_lifetime = timedelta(minutes=4)
    other = ("auth", "print-access-token", "--scopes", "cloud-platform")
    assert [logged_in(*other).output for _ in range(2)] == ["token-2\n", "token-3\n"]


def test_each_set_of_scopes_has_its_own_token(logged_in, credentials):
    narrow = logged_in("auth", "print-access-token", "--scopes", "generative-language.tuning.readonly")
    wide = logged_in("auth", "print-access-token")

    assert narrow.output != wide.output
    assert [kept["scopes"] for kept in json.loads(credentials.read_text())["tokens"]] == [
        [READONLY],
        list(DEFAULT_SCOPES),
    ]


def test_the_scopes_of_a_login_are_those_of_its_tokens(stranger, service, credentials):
    login = ("auth", "application-default", "login", "--url", service.url, "--api-key", dialect_service.KEY)
    ended = stranger(*login, "--client-id-file=client_secret.json", f"--scopes={READONLY},{DEFAULT_SCOPES[0]}")

    assert ended.code == 0
    assert stranger("auth", "application-default", "print-access-token").output == "token-1\n"
    assert json.loads(credentials.read_text())["login"]["scopes"] == [READONLY, DEFAULT_SCOPES[0]]


def test_a_scope_that_is_none_is_told_before_anything_is_asked(logged_in, service):
    ended = logged_in("auth", "print-access-token", "--scopes", "everything")

    assert ended.code == 2
    assert "'everything' is no scope of this service" in " ".join(ended.errors.split())
    assert service.tokens_made == 1


def test_the_status_tells_who_is_called_and_no_secret(logged_in, service):
    ended = logged_in("auth", "status")

    lines = dict(line.split("\t") for line in ended.output.splitlines())
    assert lines["server"] == service.url
    assert (lines["remembered"], lines["taken"]) == ("yes", "yes")
    assert ended.code == 0


def test_the_status_of_a_key_that_is_no_longer_taken_is_an_error(logged_in, credentials):
    content = json.loads(credentials.read_text())
    content["login"]["api_key"] = "revoked"
    credentials.write_text(json.dumps(content))

    ended = logged_in("auth", "status")

    assert ended.code == 1
    assert "taken\tyes" not in ended.output


def test_after_a_logout_nothing_is_left(logged_in, credentials):
    assert "Logged out." in logged_in("auth", "logout").errors
    assert not credentials.exists()
    assert "Nobody was logged in." in logged_in("auth", "application-default", "revoke").errors


def test_a_damaged_file_says_how_to_begin_again(logged_in, credentials):
    credentials.write_text("{")

    ended = logged_in("models")

    assert ended.code == 1
    assert f"{credentials} is damaged." in ended.errors
    assert "tuningfork auth logout" in ended.errors
    assert logged_in("auth", "logout").code == 0
