"""`tuningfork auth service-account`: key files, and which of them are still good."""

import json
import stat

import pytest


@pytest.fixture
def file(tmp_path):
    return tmp_path / "account.json"


@pytest.fixture
def create(tuningfork, file):
    return lambda *options: tuningfork("auth", "service-account", "create", file, *options)


def test_a_key_file_names_the_account_and_the_server(create, service, file):
    service.key_project = "lab-7"

    ended = create()

    assert json.loads(file.read_text()) == {
        "type": "service_account",
        "project_id": "lab-7",
        "private_key_id": "a1",
        "private_key": "-----a\nprivate-key-----\n",
        "client_email": "a1@service-accounts.tuningfork",
        "client_id": "a1",
        "token_uri": f"{service.url}/token",
        "universe_domain": "googleapis.com",
    }
    assert service.service_accounts["a1"]["tokenUri"] == f"{service.url}/token"
    assert (ended.code, ended.output) == (0, "")
    assert f"export GOOGLE_APPLICATION_CREDENTIALS={file}" in ended.errors
    assert "private-key" not in ended.errors


def test_only_its_user_can_read_the_file(create, file):
    create()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_project_may_be_given_for_a_key_without_one(create, file):
    create("--project", "lab-8")

    assert json.loads(file.read_text())["project_id"] == "lab-8"


def test_a_key_for_a_project_is_for_no_other(create, service, file):
    service.key_project = "lab-7"

    ended = create("--project", "lab-8")

    assert ended.code == 1
    assert "The key is for the project lab-7, and lab-8 was given." in ended.errors
    assert not file.exists()
    assert "revokeTime" in service.service_accounts["a1"]


def test_a_file_of_its_own_is_written_anew(create, service):
    create()
    create()

    assert list(service.service_accounts) == ["a1", "a2"]


@pytest.mark.parametrize(
    "there",
    ['{"type": "authorized_user"}', '{"type": "service_account", "client_email": "x@lab.example"}', "", "[]"],
)
def test_a_file_of_somebody_else_is_left_alone(create, service, file, there):
    file.write_text(there)

    ended = create()

    assert ended.code == 1
    assert "is no key file for Tuningfork" in ended.errors
    assert file.read_text() == there
    assert service.service_accounts == {}


def test_a_file_that_cannot_be_written_leaves_no_account(tuningfork, service, tmp_path):
    (tmp_path / "folder").touch()

    ended = tuningfork("auth", "service-account", "create", tmp_path / "folder" / "account.json")

    assert ended.code == 1
    assert "cannot be" in ended.errors
    assert [account for account in service.service_accounts.values() if "revokeTime" not in account] == []


def test_accounts_are_listed_with_their_files(create, tuningfork, file):
    create()
    create()
    assert tuningfork("auth", "service-account", "revoke", "a1").code == 0

    lines = tuningfork("auth", "service-account", "list").output.splitlines()

    assert [line.split("\t") for line in lines] == [
        ["a1", str(file), "k1", "2024-03-14 15:09Z", "revoked 2024-03-15 15:09Z"],
        ["a2", str(file), "k1", "2024-03-14 15:09Z", "valid"],
    ]


def test_a_person_sees_a_table(create, tuningfork, become_terminal):
    create()
    become_terminal()

    assert "written to" in tuningfork("auth", "service-account", "list").output


def test_an_unknown_id_is_told(tuningfork):
    ended = tuningfork("auth", "service-account", "revoke", "nobody")

    assert ended.code == 1
    assert "Service account nobody does not exist." in ended.errors
