"""Files of credentials: Google's libraries, unmodified, find their way to the server with nothing but such a file."""

import json
import re

import pytest

from contract.environments import NodeEnvironment, PythonEnvironment

PYTHON = [
    PythonEnvironment("vertexai-2.7.0"),
    PythonEnvironment("vertexai-1.71.1"),
    PythonEnvironment("google-genai-3.6.1"),
    PythonEnvironment("google-genai-1.46.0"),
]
NODE = [NodeEnvironment("google-genai-js-3.3.0"), NodeEnvironment("google-cloud-storage-js-8.4.0")]


@pytest.fixture(params=[*PYTHON, *NODE], ids=lambda client: client.name)
def client(request):
    return request.param


@pytest.fixture
def file(tmp_path, operate, server):
    """A file of credentials, and the id of its refresh token."""
    path = tmp_path / "adc.json"
    operate("auth", "application-default", "login", "--url", server.url, "--adc", str(path), "--project", "lab-7")
    listed = json.loads(operate("auth", "application-default", "list", "--url", server.url, "--json"))
    [token] = [each["id"] for each in listed["refreshTokens"] if each["name"] == str(path)]
    return path, token


@pytest.fixture
def credentials_told(told, client, server):
    """What a program says that calls with the file, and with no key."""
    program = "vertex_js/credentials.mjs" if isinstance(client, NodeEnvironment) else "vertex/credentials.py"
    return lambda path: told(
        client, program, URL=server.url, GOOGLE_API_KEY="", GOOGLE_APPLICATION_CREDENTIALS=str(path)
    )


def test_a_program_that_passes_no_credentials_is_let_in_by_the_file(credentials_told, file):
    path, _ = file

    answered = credentials_told(path)

    assert answered["status"] == 200
    assert answered["quota_project"] == "lab-7"


def test_a_file_that_was_revoked_is_refused_as_an_invalid_grant(credentials_told, file, operate, server):
    path, token = file
    operate("auth", "application-default", "revoke", token, "--url", server.url)

    refused = credentials_told(path)["refused"]

    assert "invalid_grant" in refused
    # What is to be done about it reaches the user.
    assert f"refresh token {token} is revoked" in refused
    assert "auth application-default login --adc" in refused


def test_a_client_that_lost_its_project_is_told_to_pass_it(told, file, server):
    path, _ = file
    answered = told(
        PythonEnvironment("google-genai-3.6.1"),
        "vertex/lost_project.py",
        GOOGLE_VERTEX_BASE_URL=server.url,
        GOOGLE_CLOUD_PROJECT="lab-7",
        GOOGLE_CLOUD_LOCATION="us-central1",
        GOOGLE_API_KEY="",
        GOOGLE_APPLICATION_CREDENTIALS=str(path),
    )

    for code, status, message in answered:
        assert (code, status) == (400, "INVALID_ARGUMENT")
        assert re.search(r"pass project= and location= to genai\.Client", message)
