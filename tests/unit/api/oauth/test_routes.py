"""`POST /token` and `POST /introspect`: what a program with a refresh token gets, in OAuth's own form."""

import base64
import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from caller import caller_of
from tuningfork.service.quotas import Budget, Quotas

MADE = "/tuningfork/v1/refreshTokens"
FORM = "application/x-www-form-urlencoded"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
TUNED = "/v1beta/tunedModels"


def basic(client_id, secret):
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def made(caller, **options):
    answer = caller.post(MADE, {"name": "laptop"}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def form(caller, path, parameters, headers):
    body = parameters if isinstance(parameters, bytes) else urlencode(parameters).encode()
    return caller.post(path, body, key="", headers={"content-type": FORM, **headers})


def exchange(caller, token, *, headers=None, **changes):
    sent = {"grant_type": "refresh_token", "refresh_token": token["refreshToken"], **changes}
    client = basic(token["clientId"], token["clientSecret"]) if headers is None else headers
    return form(caller, "/token", {name: value for name, value in sent.items() if value is not None}, client)


def introspect(caller, token, asked):
    return form(caller, "/introspect", {"token": asked}, basic(token["clientId"], token["clientSecret"]))


def bearer(answer):
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_refresh_token_is_exchanged_for_an_access_token_of_its_key(caller):
    name = caller.create()

    answer = exchange(caller, made(caller))

    assert answer.status_code == 200
    assert answer.json() == {
        "access_token": answer.json()["access_token"],
        "expires_in": 3600,
        "token_type": "Bearer",
        "scope": CLOUD_PLATFORM,
    }
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert caller.get(f"/v1beta/{name}", key="", headers=bearer(answer)).json()["name"] == name


def test_the_same_refresh_token_is_exchanged_again_and_again(caller):
    token = made(caller)
    first, second = exchange(caller, token), exchange(caller, token)

    assert first.json()["access_token"] != second.json()["access_token"]
    assert caller.get(TUNED, key="", headers=bearer(second)).status_code == 200


def test_a_program_may_ask_for_less_than_everything(caller):
    answer = exchange(caller, made(caller), scope="generative-language.tuning.readonly")

    assert answer.json()["scope"] == "https://www.googleapis.com/auth/generative-language.tuning.readonly"
    assert caller.get(TUNED, key="", headers=bearer(answer)).status_code == 200
    assert caller.post(TUNED, {}, key="", headers=bearer(answer)).status_code == 403


def test_the_client_may_be_sent_in_the_form(caller):
    token = made(caller)
    answer = exchange(caller, token, headers={}, client_id=token["clientId"], client_secret=token["clientSecret"])

    assert answer.status_code == 200


def test_the_content_type_may_have_parameters(caller):
    token = made(caller)
    client = basic(token["clientId"], token["clientSecret"])

    assert exchange(caller, token, headers={**client, "content-type": f"{FORM}; charset=utf-8"}).status_code == 200


def refused(answer):
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, body["error"], body["error_description"]


def test_a_revoked_refresh_token_is_an_invalid_grant(caller):
    token = made(caller)
    caller.post(f"{MADE}/{token['id']}:revoke", {})

    status, error, description = refused(exchange(caller, token))

    assert (status, error) == (400, "invalid_grant")
    assert f"refresh token {token['id']} is revoked" in description
    assert "application-default login --adc FILE" in description


def test_a_refresh_token_dies_with_its_key(caller):
    token = made(caller)
    [ada, _] = caller.workshop.access.list_keys()
    caller.workshop.access.revoke_key(ada.id)

    status, error, description = refused(exchange(caller, token))

    assert (status, error) == (400, "invalid_grant")
    assert f"the API key of refresh token {token['id']} is revoked" in description


@pytest.mark.parametrize("unknown", ["tf_refresh_nonsense", "x", "\x00", "é", "tf_refresh_" + "a" * 8_000])
def test_an_unknown_refresh_token_is_an_invalid_grant(caller, unknown):
    status, error, _ = refused(exchange(caller, {**made(caller), "refreshToken": unknown}))

    assert (status, error) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({}, {}),
        ({}, {"client_id": "tuningfork"}),
        (basic("tuningfork", "another"), {}),
        (basic("tuningfork", ""), {}),
        (basic("somebody", "else"), {}),
        ({"authorization": "Basic"}, {}),
        ({"authorization": "Basic ???"}, {}),
        ({"authorization": "Basic " + base64.b64encode(b"no colon").decode()}, {}),
        ({"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}, {}),
        ({"authorization": "Bearer tf_key"}, {}),
    ],
    ids=str,
)
def test_another_client_is_an_invalid_client(caller, headers, changes):
    answer = exchange(caller, made(caller), headers=headers, **changes)

    assert refused(answer)[:2] == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_the_client_secret_of_another_refresh_token_is_not_taken(caller):
    one, other = made(caller), made(caller)

    answer = exchange(caller, {**one, "clientSecret": other["clientSecret"]})

    assert refused(answer)[:2] == (401, "invalid_client")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grant_type": None}, (400, "invalid_request", "the parameter grant_type is required")),
        ({"grant_type": ""}, (400, "invalid_request", "the parameter grant_type is required")),
        ({"refresh_token": None}, (400, "invalid_request", "the parameter refresh_token is required")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", "grant_type must be refresh_token or urn")),
        ({"grant_type": 'x"\\'}, (400, "unsupported_grant_type", "grant_type must be refresh_token or urn")),
        ({"scope": "everything"}, (400, "invalid_scope", "'everything' is no scope")),
        ({"client_secret": "x"}, (400, "invalid_request", "the client was sent twice")),
    ],
    ids=str,
)
def test_a_request_that_is_wrong_is_told_why(caller, changes, said):
    status, error, description = refused(exchange(caller, made(caller), **changes))

    assert (status, error) == said[:2]
    assert description.startswith(said[2])


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"grant_type": "refresh_token"}).encode(), "application/json"),
        (b"grant_type=refresh_token", ""),
        (b"grant_type=refresh_token&grant_type=refresh_token", FORM),
        (b"&".join(b"a%d=1" % number for number in range(60)), FORM),
        (b"refresh_token=%ff&grant_type=refresh_token", FORM),
        ("refresh_token=é".encode(), FORM),
        (b"", FORM),
        (b"refresh_token=" + b"a" * 20_000, FORM),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_body_that_is_no_such_form_is_an_invalid_request(caller, body, content_type):
    answer = caller.post("/token", body, key="", headers={"content-type": content_type})

    assert refused(answer)[:2] == (400, "invalid_request")


def test_an_exchange_counts_as_a_request_of_its_key(workshop):
    quotas = Quotas(Budget(requests_per_minute=2))
    caller = caller_of(workshop, quotas=quotas)
    token = made(caller)
    assert exchange(caller, token).status_code == 200

    answer = exchange(caller, token)

    assert refused(answer)[:2] == (429, "temporarily_unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_database_that_cannot_be_read_is_no_fault_of_the_program(caller):
    token = made(caller)
    with caller.workshop.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE refresh_tokens")

    assert refused(exchange(caller, token))[:2] == (500, "server_error")


def test_a_server_that_asks_for_no_keys_makes_refresh_tokens_all_the_same(workshop):
    open_door = caller_of(workshop, require_credential=False)
    here = {"host": "localhost"}
    token = open_door.post(MADE, {}, key="", headers=here).json()

    answer = exchange(open_door, token, headers={**basic(token["clientId"], token["clientSecret"]), **here})

    assert answer.json()["expires_in"] == 3600
    assert [each["id"] for each in open_door.get(MADE, key="", headers=here).json()["refreshTokens"]] == [token["id"]]


def test_introspection_tells_what_a_token_of_the_clients_key_is_good_for(caller):
    token = made(caller)
    access_token = exchange(caller, token).json()["access_token"]

    assert introspect(caller, token, access_token).json() == {
        "active": True,
        "scope": CLOUD_PLATFORM,
        "client_id": "tuningfork",
        "username": "ada@example.com",
        "token_type": "Bearer",
        "exp": 1710432544,
    }
    assert introspect(caller, token, token["refreshToken"]).json() == {
        "active": True,
        "scope": CLOUD_PLATFORM,
        "client_id": "tuningfork",
        "username": "ada@example.com",
    }


def test_a_token_that_is_good_for_nothing_is_inactive(caller):
    token, bobs = made(caller), made(caller, key=caller.bobs_key)
    access_token = exchange(caller, token).json()["access_token"]
    inactive = {"active": False}

    assert introspect(caller, token, "nonsense").json() == inactive
    assert introspect(caller, token, f"{access_token}x").json() == inactive
    assert introspect(caller, bobs, access_token).json() == inactive
    assert introspect(caller, bobs, token["refreshToken"]).json() == inactive
    caller.workshop.clock.advance(hours=2)
    assert introspect(caller, token, access_token).json() == inactive
    caller.post(f"{MADE}/{token['id']}:revoke", {})
    assert introspect(caller, token, token["refreshToken"]).json() == inactive


def test_only_a_client_may_ask_about_tokens(caller):
    answer = introspect(caller, {**made(caller), "clientSecret": "another"}, "any")

    assert refused(answer)[:2] == (401, "invalid_client")


def test_a_persons_refresh_tokens_are_listed_without_their_secrets(caller):
    one, two = made(caller), made(caller)
    made(caller, key=caller.bobs_key)
    caller.post(f"{MADE}/{one['id']}:revoke", {})

    listed = caller.get(MADE).json()["refreshTokens"]

    [ada, _] = caller.workshop.access.list_keys()
    assert [(each["id"], each["name"], each["keyId"], "revokeTime" in each) for each in listed] == [
        (one["id"], "laptop", ada.id, True),
        (two["id"], "laptop", ada.id, False),
    ]
    assert {name for each in listed for name in each} == {"id", "name", "keyId", "createTime", "revokeTime"}


def test_nobody_revokes_the_refresh_token_of_another_person(caller):
    token = made(caller)

    answer = caller.post(f"{MADE}/{token['id']}:revoke", {}, key=caller.bobs_key)

    assert answer.status_code == 404
    assert exchange(caller, token).status_code == 200


def test_revoking_again_changes_nothing(caller):
    token = made(caller)
    first = caller.post(f"{MADE}/{token['id']}:revoke", {}).json()["revokeTime"]
    caller.workshop.clock.advance(hours=1)

    assert caller.post(f"{MADE}/{token['id']}:revoke", {}).json()["revokeTime"] == first


def test_no_access_token_makes_a_refresh_token(caller):
    headers = {"authorization": f"Bearer {caller.token('cloud-platform')}"}

    assert caller.post(MADE, {}, key="", headers=headers).status_code == 403
    assert caller.get(MADE, key="", headers=headers).status_code == 403
    assert caller.post(MADE, {}, key="").status_code == 403


@pytest.mark.parametrize("name", ["x" * 201, "a\nb"])
def test_a_name_that_cannot_be_shown_is_refused(caller, name):
    answer = caller.post(MADE, {"name": name})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("* CreateRefreshTokenRequest.name: name must be at most 200")


def test_a_person_has_a_hundred_and_no_more(caller, monkeypatch):
    # Why: a hundred answers take a second, and the limit is a number.
    monkeypatch.setattr("tuningfork.service.identity.revocable.MOST_FOR_EACH_PERSON", 3)
    first, second, _ = made(caller), made(caller), made(caller)

    answer = caller.post(MADE, {})
    assert (answer.status_code, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "application-default revoke" in answer.json()["error"]["message"]

    caller.post(f"{MADE}/{second['id']}:revoke", {})
    caller.post(f"{MADE}/{first['id']}:revoke", {})
    made(caller)
    assert second["id"] not in [each["id"] for each in caller.get(MADE).json()["refreshTokens"]]
    assert first["id"] in [each["id"] for each in caller.get(MADE).json()["refreshTokens"]]


def test_the_log_tells_why_a_request_was_refused_and_no_secret(caller, caplog):
    caplog.set_level("DEBUG")
    token = made(caller)
    access_token = exchange(caller, token).json()["access_token"]
    exchange(caller, {**token, "clientSecret": "wr0ng-secret"})
    exchange(caller, {**token, "refreshToken": "wr0ng-token"})
    caller.post(f"{MADE}/{token['id']}:revoke", {})
    exchange(caller, token)
    caller.post(f"/token/{token['refreshToken']}", key="")

    records = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    refusals = [record.getMessage() for record in records if getattr(record, "action", "") == "key_refused"]
    assert [f"refresh token {token['id']}" in said for said in refusals] == [True, False, True]
    assert all(said.startswith("refused a request for /token from 127.0.0.1: invalid_") for said in refusals)
    logged = "".join(str(vars(record)) + record.getMessage() for record in records)
    for secret in (access_token, token["refreshToken"], token["clientSecret"], "wr0ng"):
        assert secret not in logged


def test_the_database_has_no_secret(caller):
    token = made(caller)

    with caller.workshop.database.read() as connection:
        stored = connection.exec_driver_sql("SELECT * FROM refresh_tokens").all()

    assert token["id"] in str(stored)
    assert token["refreshToken"] not in str(stored)
    assert token["clientSecret"] not in str(stored)


def test_a_refresh_token_is_no_credential_itself(caller):
    token = made(caller)
    headers = {"authorization": f"Bearer {token['refreshToken']}"}

    assert caller.get(TUNED, key="", headers=headers).status_code == 401
    assert caller.get(TUNED, key=token["refreshToken"]).status_code == 400


def test_an_access_token_outlives_its_refresh_token_by_less_than_an_hour(caller):
    token = made(caller)
    headers = bearer(exchange(caller, token))
    caller.post(f"{MADE}/{token['id']}:revoke", {})
    assert caller.get(TUNED, key="", headers=headers).status_code == 200

    caller.workshop.clock._now += timedelta(hours=1, seconds=31)

    assert caller.get(TUNED, key="", headers=headers).status_code == 401
