"""What the client remembers, in a file of its user's own."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tuningfork.client import ClientError
from tuningfork.client.dialect import AccessToken
from tuningfork.client.login import MARGIN, Login, LoginFile, credentials_file

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOGIN = Login(url="http://gpu.example:8000", api_key="tf_secret", scopes=("a", "b"))


@pytest.fixture
def file(tmp_path):
    return LoginFile(tmp_path / "new" / "credentials.json")


def token(value="t", lifetime=timedelta(hours=1), scopes=("a",)):
    return AccessToken(value=value, expire_time=NOON + lifetime, scopes=scopes)


def test_the_file_follows_the_desktop_standard(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert credentials_file() == tmp_path / "tuningfork" / "credentials.json"

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(credentials_file()) == "/somewhere/.config/tuningfork/credentials.json"


def test_what_is_remembered_is_read_back(file):
    assert file.login() is None

    file.remember(LOGIN)

    assert file.login() == LOGIN


def test_a_file_that_others_could_read_is_closed_when_it_is_written(file):
    file.remember(LOGIN)
    file.path.chmod(0o644)

    file.keep_token(LOGIN, ("a",), token())

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.login() == LOGIN


def test_a_kept_token_is_for_one_server_one_key_and_one_set_of_scopes(file):
    file.keep_token(LOGIN, ("a",), token())

    assert file.token(LOGIN, ("a",), NOON).value == "t"
    assert file.token(LOGIN, ("a", "b"), NOON) is None
    assert file.token(Login(url=LOGIN.url, api_key="another"), ("a",), NOON) is None
    assert file.token(Login(url="http://other.example", api_key=LOGIN.api_key), ("a",), NOON) is None


def test_a_kept_token_is_given_out_while_it_is_good_for_a_while(file):
    file.keep_token(LOGIN, ("a",), token(lifetime=timedelta(hours=1)))
    last = NOON + timedelta(hours=1) - MARGIN

    assert file.token(LOGIN, ("a",), last - timedelta(seconds=1)).value == "t"
    assert file.token(LOGIN, ("a",), last) is None


def test_another_login_forgets_the_tokens_of_the_first(file):
    file.remember(LOGIN)
    file.keep_token(LOGIN, ("a",), token())

    file.remember(Login(url="http://other.example", api_key=None))

    assert file.token(LOGIN, ("a",), NOON) is None


def test_the_file_does_not_grow_for_ever(file):
    for number in range(40):
        file.keep_token(LOGIN, (f"scope {number}",), token(f"t{number}"))

    assert file.token(LOGIN, ("scope 39",), NOON).value == "t39"
    assert file.token(LOGIN, ("scope 0",), NOON) is None


def test_a_secret_does_not_show_itself():
    assert "tf_secret" not in repr(LOGIN)
    assert "value" not in repr(token("value"))


def test_a_key_is_not_kept_with_its_tokens(file):
    file.keep_token(LOGIN, ("a",), token())

    assert "tf_secret" not in file.path.read_text()


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ClientError, match="cannot be used"):
        LoginFile(tmp_path / "file" / "credentials.json").remember(LOGIN)


@pytest.mark.parametrize("expire_time", ["tomorrow", "2026-03-01T12:00:00", "5"])
def test_a_token_that_expires_at_no_time_is_damage(file, expire_time):
    file.keep_token(LOGIN, ("a",), token())
    content = json.loads(file.path.read_text())
    content["tokens"][0]["expire_time"] = expire_time
    file.path.write_text(json.dumps(content))

    with pytest.raises(ClientError, match="is damaged"):
        file.token(LOGIN, ("a",), NOON)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"login": 1, "tokens": []}', '{"login": null, "tokens": [{}]}'])
def test_a_damaged_file_is_told(file, content):
    file.path.parent.mkdir()
    file.path.write_text(content)

    with pytest.raises(ClientError, match="is damaged") as told:
        file.login()
    assert "tuningfork auth logout" in told.value.advice
