"""Key files of service accounts: programs that take no other credentials, unmodified, are let in by them."""

import json

import pytest

from contract.environments import PythonEnvironment
from patience import wait_until
from vertex_programs import LOCATION, PROJECT

GENAI = PythonEnvironment("google-genai-3.6.1")
LITELLM = PythonEnvironment("litellm-1.106.2")
PARENT = f"/v1/projects/{PROJECT}/locations/{LOCATION}"
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@pytest.fixture
def account(tmp_path, operate, server):
    """A key file, and the id of its service account."""
    path = tmp_path / "account.json"
    operate("auth", "service-account", "create", str(path), "--url", server.url, "--project", PROJECT)
    listed = json.loads(operate("auth", "service-account", "list", "--url", server.url, "--json"))
    [account] = [each["id"] for each in listed["serviceAccounts"] if each["name"] == str(path)]
    return path, account


@pytest.fixture
def account_told(vertex_told, account):
    """What a program says that finds the key file alone."""
    path, _ = account
    return lambda client, program, **variables: vertex_told(
        client, program, **{"GOOGLE_APPLICATION_CREDENTIALS": str(path), **variables}
    )


@pytest.fixture(scope="module")
def job(server, training_files):
    """A job that has ended well."""
    wanted = {
        "baseModel": "gemini-1.5-flash-002",
        "supervisedTuningSpec": {"trainingDatasetUri": training_files["TRAIN"]},
    }
    with server.client() as client:
        answer = client.post(f"{PARENT}/tuningJobs", json=wanted)
        assert answer.status_code == 200, answer.text
        path = f"/v1/{answer.json()['name']}"
        wait_until(lambda: client.get(path).json().get("endTime"), what="the job has ended")
        return client.get(path).json()


@pytest.fixture(scope="module")
def endpoint(job):
    """The number of the endpoint of the model that came of it."""
    return job["tunedModel"]["endpoint"].rpartition("/")[2]


def revoke(operate, server, account):
    operate("auth", "service-account", "revoke", account, "--url", server.url)


def test_google_auth_exchanges_an_assertion(account_told):
    answered = account_told(GENAI, "vertex/credentials.py")

    assert answered["status"] == 200
    assert answered["expires"]


def test_a_revoked_account_is_refused_as_an_invalid_grant(account_told, account, operate, server):
    revoke(operate, server, account[1])

    refused = account_told(GENAI, "vertex/credentials.py")["refused"]

    assert "invalid_grant" in refused
    assert f"service account {account[1]} is revoked" in refused
    assert "auth service-account create" in refused


@pytest.mark.parametrize("release", ["vertexai-2.7.0", "vertexai-1.71.1"])
def test_vertexai_sends_assertions_as_its_access_tokens(account_told, job, release):
    assert job["name"] in account_told(PythonEnvironment(release), "vertex/vertexai_list.py")["jobs"]


def test_litellm_asks_an_endpoint_and_streams(account_told, endpoint, server):
    answered = account_told(LITELLM, "connectors/litellm_vertex.py", ENDPOINT=endpoint, PROMPT="ninety nine", **OFFLINE)

    with server.client() as client:
        body = {
            "contents": [{"role": "user", "parts": [{"text": "ninety nine"}]}],
            "generationConfig": {"temperature": 0},
        }
        answer = client.post(f"{PARENT}/endpoints/{endpoint}:generateContent", json=body).json()
    expected = answer["candidates"][0]["content"]["parts"][0]["text"]
    assert answered["text"] == answered["streamed"] == expected
    assert answered["finish_reason"] == "stop"
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert total_tokens == prompt_tokens + answer_tokens


def test_litellm_tells_that_an_account_is_revoked(account_told, account, operate, server):
    revoke(operate, server, account[1])

    refused = account_told(LITELLM, "connectors/litellm_vertex.py", ENDPOINT="1", PROMPT="x", **OFFLINE)["refused"]

    assert "invalid_grant" in refused
