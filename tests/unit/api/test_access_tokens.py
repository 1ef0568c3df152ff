"""Access tokens over HTTP: made with a key, shown in every place, dead with their key."""

from datetime import timedelta

import jwt
import pytest

from caller import caller_of, identity_of
from spoken import refusing
from tuningfork.dialect.gate import Gate

TOKENS = "/tuningfork/v1/accessTokens"
TUNED = "/v1beta/tunedModels"
FULL = "https://www.googleapis.com/auth/generative-language.tuning"


def message(answer):
    return answer.json()["error"]["message"]


def test_a_key_gets_a_token(caller):
    answer = caller.post(TOKENS, {"scopes": [FULL], "lifetime": "600s"})

    token = answer.json()
    assert list(token) == ["accessToken", "expireTime", "scopes", "tokenType"]
    assert token["expireTime"] == "2024-03-14T15:19:04Z"
    assert (token["scopes"], token["tokenType"]) == ([FULL], "Bearer")
    assert answer.headers["cache-control"] == "no-store"


def test_the_usual_lifetime_is_an_hour(caller):
    assert caller.post(TOKENS, {"scopes": ["cloud-platform"]}).json()["expireTime"] == "2024-03-14T16:09:04Z"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?access_token=TOKEN", {}),
        ("?oauth_token=TOKEN", {}),
        ("?%24access_token=TOKEN", {}),
        ("?%24oauth_token=TOKEN", {}),
        ("", {"authorization": "Bearer TOKEN"}),
        ("", {"authorization": "bearer TOKEN", "x-goog-user-project": "any-project"}),
    ],
)
def test_a_token_opens_what_its_key_opens(caller, query, headers):
    name = caller.create()
    token = caller.token("cloud-platform")
    sent = {header: value.replace("TOKEN", token) for header, value in headers.items()}

    answer = caller.get(f"/v1/{name}{query.replace('TOKEN', token)}", key="", headers=sent)

    assert answer.json()["name"] == name


def test_a_token_dies_with_the_key_that_it_was_made_for(caller):
    headers = {"authorization": f"Bearer {caller.token('cloud-platform')}"}
    assert caller.get(TUNED, key="", headers=headers).status_code == 200

    [ada, _] = caller.workshop.access.list_keys()
    caller.workshop.access.revoke_key(ada.id)

    answer = caller.get(TUNED, key="", headers=headers)
    assert (answer.status_code, message(answer)[:54]) == (401, "Request had invalid authentication credentials. Expect")


def test_a_token_dies_in_its_own_time(caller):
    headers = {"authorization": f"Bearer {caller.token('cloud-platform', lifetime='60s')}"}
    assert caller.get(TUNED, key="", headers=headers).status_code == 200

    caller.workshop.clock._now += timedelta(seconds=91)

    assert caller.get(TUNED, key="", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "* CreateAccessTokenRequest.scopes: name at least one scope"),
        ({"scopes": ["everything"]}, "* CreateAccessTokenRequest.scopes[0]: 'everything' is no scope"),
        ({"scopes": ["cloud-platform"], "lifetime": "3600"}, "* CreateAccessTokenRequest.lifetime: lifetime must be"),
        ({"scopes": ["cloud-platform"], "lifetime": "13h"}, "* CreateAccessTokenRequest.lifetime: lifetime must be"),
        ({"scopes": ["cloud-platform"], "lifetime": "43201s"}, "* CreateAccessTokenRequest.lifetime: lifetime must be"),
        ({"scopes": ["cloud-platform"], "lifetime": "-1s"}, "* CreateAccessTokenRequest.lifetime: lifetime must be"),
        ({"scopes": ["cloud-platform"], "lifetime": f"{'9' * 30}s"}, "* CreateAccessTokenRequest.lifetime"),
        ({"scope": ["cloud-platform"]}, 'Invalid JSON payload received. Unknown name "scope"'),
        ({"scopes": {"a": 1}}, "Invalid"),
        (b"{", "Invalid JSON payload received."),
    ],
    ids=str,
)
def test_a_request_that_is_wrong_is_told_why(caller, body, said):
    answer = caller.post(TOKENS, body)

    assert answer.status_code == 400
    assert message(answer).startswith(said)


def test_only_a_key_gets_one(caller):
    assert caller.post(TOKENS, {"scopes": [FULL]}, key="").status_code == 403
    assert caller.post(TOKENS, {"scopes": [FULL]}, key="nonsense").status_code == 400
    assert caller.get(TOKENS).status_code == 405


def test_a_token_of_a_server_that_asks_for_nothing_opens_no_other(workshop):
    here = {"host": "localhost"}
    open_door = caller_of(workshop, require_credential=False)
    answer = open_door.post(TOKENS, {"scopes": [FULL]}, key="", headers=here)
    token = answer.json()["accessToken"]

    gate = Gate(identity=identity_of(workshop), quotas=workshop.quotas)
    assert jwt.decode(token, options={"verify_signature": False})["key"] == ""
    with refusing(Exception, "invalid authentication credentials"):
        gate.identity.of_token(token, "any")


def test_no_secret_is_ever_logged(caller, caplog):
    caplog.set_level("DEBUG")
    token = caller.token("cloud-platform")
    for path in (TUNED, "/v1beta/nothing", f"{TUNED}/x"):
        caller.get(f"{path}?key={caller.key}&access_token={token}", key="")
        caller.get(path, headers={"authorization": f"Bearer {token}x"}, key="")
        caller.get(f"{path}?key={caller.key}x", key="")

    ours = "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    assert caller.key not in ours
    assert token not in ours


@pytest.mark.parametrize("place", ["?key=SECRET", "?access_token=SECRET"])
def test_no_refusal_repeats_a_secret(caller, place):
    for path in (TUNED, "/v1beta/nothing", "/healthz/x"):
        assert "s3cr3t" not in caller.get(f"{path}{place.replace('SECRET', 's3cr3t')}", key="").text
