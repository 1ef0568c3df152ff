"""Who is calling: every place a key may be in, and which one counts."""

import pytest

from caller import TUTORIAL_BODY, caller_of
from tuningfork.domain.permission import LOCAL_PRINCIPAL

TUNED = "/v1beta/tunedModels"
BAD_TOKEN = "Request had invalid authentication credentials."
BAD_KEY = "API key not valid."
NOBODY = "Method doesn't allow unregistered callers"


def message(answer):
    return answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"x-goog-api-key": "KEY"}),
        ("?key=KEY", {}),
        ("?%24key=KEY", {}),
        ("?access_token=KEY", {}),
        ("?oauth_token=KEY", {}),
        ("", {"authorization": "Bearer KEY"}),
        ("", {"authorization": "bearer   KEY ", "x-goog-user-project": "some-project"}),
        ("?key=nonsense", {"x-goog-api-key": "KEY"}),
        ("", {"x-goog-api-key": "KEY", "authorization": "Bearer nonsense"}),
        ("?key=KEY", {"authorization": "Bearer nonsense"}),
        ("?key=", {"authorization": "Bearer KEY"}),
    ],
)
def test_a_key_is_found_wherever_it_is(caller, query, headers):
    sent = {name: value.replace("KEY", caller.key) for name, value in headers.items()}

    answer = caller.get(f"{TUNED}{query.replace('KEY', caller.key)}", headers=sent, key="")

    assert (answer.status_code, answer.text) == (200, "{}\n")


@pytest.mark.parametrize(
    ("query", "headers", "status", "beginning"),
    [
        ("", {}, 403, NOBODY),
        ("?key=", {}, 403, NOBODY),
        ("", {"x-goog-api-key": ""}, 403, NOBODY),
        ("", {"authorization": ""}, 403, NOBODY),
        ("?key=nonsense", {}, 400, BAD_KEY),
        ("", {"x-goog-api-key": "nonsense"}, 400, BAD_KEY),
        ("", {"x-goog-api-key": "n\u00f6nsense".encode().decode("latin-1")}, 400, BAD_KEY),
        ("?access_token=nonsense", {}, 401, BAD_TOKEN),
        ("", {"authorization": "Bearer nonsense"}, 401, BAD_TOKEN),
        ("", {"authorization": "Bearer"}, 401, BAD_TOKEN),
        ("", {"authorization": "Basic KEY"}, 401, BAD_TOKEN),
    ],
)
def test_each_way_to_be_nobody_has_its_answer(caller, query, headers, status, beginning):
    sent = {name: value.replace("KEY", caller.key).encode("latin-1") for name, value in headers.items()}

    answer = caller.get(f"{TUNED}{query}", headers=sent, key="")

    assert answer.status_code == status
    assert message(answer).startswith(beginning)


def test_a_revoked_key_is_bad(caller):
    [ada, _] = caller.workshop.access.list_keys()
    caller.workshop.access.revoke_key(ada.id)

    assert message(caller.get(TUNED)).startswith(BAD_KEY)


def test_a_stranger_is_refused_before_the_body_is_looked_at(caller):
    assert message(caller.post(TUNED, b"{ this is no JSON", key="")).startswith(NOBODY)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1beta/models"),
        ("GET", "/v1beta/models/echo-001"),
        ("POST", "/v1beta/models/echo-001:generateContent"),
        ("POST", "/v1beta/models/echo-001:streamGenerateContent"),
        ("POST", "/v1beta/models/echo-001:countTokens"),
        ("POST", TUNED),
        ("GET", TUNED),
        ("GET", f"{TUNED}/x"),
        ("DELETE", f"{TUNED}/x"),
        ("POST", f"{TUNED}/x:cancel"),
        ("GET", f"{TUNED}/x/operations/y"),
        ("POST", f"{TUNED}/x/operations/y:cancel"),
        ("GET", "/tuningfork/v1/tunedModels/x/adapter"),
    ],
)
def test_no_route_of_the_api_is_open(caller, method, path):
    assert message(caller.call(method, path, key="")).startswith(NOBODY)


def test_to_ask_for_health_needs_no_key(caller):
    assert caller.get("/healthz", key="").status_code == 200


@pytest.mark.parametrize("key", ["", "any-key-will-do", "BOB"])
def test_a_server_without_credentials_knows_one_local_caller(workshop, key):
    caller = caller_of(workshop, require_credential=False)
    here = {"host": "localhost:8000"}

    created = caller.post(TUNED, TUTORIAL_BODY, key=key.replace("BOB", caller.bobs_key), headers=here)

    assert created.status_code == 200
    assert len(caller.get(TUNED, key="", headers=here).json()["tunedModels"]) == 1
    assert len(caller.get(TUNED, headers=here).json()["tunedModels"]) == 1
    assert workshop.tuning.list(LOCAL_PRINCIPAL).items
