"""`tuningfork auth application-default`: files of credentials, and which of them are still good."""

import json
import stat

import pytest

import dialect_service


@pytest.fixture
def file(tmp_path):
    return tmp_path / "adc.json"


@pytest.fixture
def login(tuningfork, file):
    return lambda *options: tuningfork("auth", "application-default", "login", "--adc", file, *options)


def test_a_file_of_credentials_names_the_server_and_holds_a_refresh_token(login, service, file):
    ended = login()

    assert json.loads(file.read_text()) == {
        "type": "external_account_authorized_user",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/tuningfork/providers/local",
        "client_id": "tuningfork",
        "client_secret": "a-secret",
        "refresh_token": "tf_refresh_1",
        "token_url": f"{service.url}/token",
        "token_info_url": f"{service.url}/introspect",
    }
    assert (ended.code, ended.output) == (0, "")
    assert f"export GOOGLE_APPLICATION_CREDENTIALS={file}" in ended.errors
    assert "a-secret" not in ended.errors
    assert "tf_refresh" not in ended.errors


def test_only_its_user_can_read_the_file(login, file):
    login()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_login_is_remembered_too(login, tuningfork, monkeypatch, service):
    login()
    monkeypatch.delenv("TUNINGFORK_URL")
    monkeypatch.delenv("TUNINGFORK_API_KEY")

    assert tuningfork("auth", "status").output.startswith(f"server\t{service.url}")


def test_the_project_of_the_key_is_the_one_that_programs_name(login, service, file):
    service.key_project = "lab-7"
    login()

    assert json.loads(file.read_text())["quota_project_id"] == "lab-7"


def test_a_project_may_be_given_for_a_key_without_one(login, file):
    login("--project", "lab-8")

    assert json.loads(file.read_text())["quota_project_id"] == "lab-8"


def test_a_key_for_a_project_is_for_no_other(login, service, file):
    service.key_project = "lab-7"

    ended = login("--project", "lab-8")

    assert ended.code == 1
    assert "The key is for the project lab-7, and lab-8 was given." in ended.errors
    assert "tuningfork keys create --project lab-8" in ended.errors
    assert not file.exists()
    assert "revokeTime" in service.refresh_tokens["r1"]


def test_a_project_without_a_file_is_a_mistake(tuningfork, service):
    ended = tuningfork("auth", "application-default", "login", "--project", "lab-8")

    assert ended.code == 2
    assert service.tokens_made == 0


def test_a_file_of_its_own_is_written_anew(login, service, file):
    login()
    login()

    assert list(service.refresh_tokens) == ["r1", "r2"]


@pytest.mark.parametrize("there", ['{"type": "authorized_user"}', '{"type": "service_account"}', "", "[]", "not json"])
def test_a_file_of_somebody_else_is_left_alone(login, service, file, there):
    file.write_text(there)

    ended = login()

    assert ended.code == 1
    assert "is no file of credentials for Tuningfork" in ended.errors
    assert file.read_text() == there
    assert service.refresh_tokens == {}


def test_a_file_that_cannot_be_written_leaves_no_refresh_token(tuningfork, service, tmp_path):
    (tmp_path / "folder").touch()

    ended = tuningfork("auth", "application-default", "login", "--adc", tmp_path / "folder" / "adc.json")

    assert ended.code == 1
    assert "cannot be" in ended.errors
    assert [token for token in service.refresh_tokens.values() if "revokeTime" not in token] == []


def test_a_wrong_key_writes_no_file(login, service, file):
    ended = login("--api-key", "wrong")

    assert ended.code == 1
    assert not file.exists()
    assert service.refresh_tokens == {}


def test_refresh_tokens_are_listed_with_their_files(login, tuningfork, file):
    login()
    login()
    assert tuningfork("auth", "application-default", "revoke", "r1").code == 0

    lines = tuningfork("auth", "application-default", "list").output.splitlines()

    assert [line.split("\t") for line in lines] == [
        ["r1", str(file), "k1", "2024-03-14 15:09Z", "revoked 2024-03-15 15:09Z"],
        ["r2", str(file), "k1", "2024-03-14 15:09Z", "valid"],
    ]


def test_a_person_sees_a_table(login, tuningfork, become_terminal):
    login()
    become_terminal()

    assert "written to" in tuningfork("auth", "application-default", "list").output


def test_an_unknown_id_is_told(tuningfork):
    ended = tuningfork("auth", "application-default", "revoke", "nobody")

    assert ended.code == 1
    assert "Refresh token nobody does not exist." in ended.errors


def test_without_an_id_the_login_is_forgotten(login, tuningfork, service, tmp_path):
    login()

    ended = tuningfork("auth", "application-default", "revoke")

    assert "Logged out." in ended.errors
    assert not (tmp_path / "config" / "tuningfork" / "credentials.json").exists()
    assert "revokeTime" not in service.refresh_tokens["r1"]


def test_a_long_path_is_named_by_its_end(tuningfork, service, tmp_path):
    folder = tmp_path / ("d" * 150) / ("e" * 150)
    tuningfork("auth", "application-default", "login", "--adc", folder / "adc.json", "--api-key", dialect_service.KEY)

    assert service.refresh_tokens["r1"]["name"].endswith("e/adc.json")
    assert len(service.refresh_tokens["r1"]["name"]) == 200
