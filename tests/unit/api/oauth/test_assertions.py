"""Assertions of service accounts, at `POST /token` and as access tokens."""

from urllib.parse import urlencode

import jwt
import pytest

from caller import caller_of
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.service.identity.service_accounts import ServiceAccounts
from tuningfork.service.quotas import Budget, Quotas

MADE = "/tuningfork/v1/serviceAccounts"
TUNED = "/v1beta/tunedModels"
TOKEN_URI = "https://tuningfork.example/token"
GOOGLES = "https://oauth2.googleapis.com/token"
AUTH = "https://www.googleapis.com/auth/"
CLOUD_PLATFORM = f"{AUTH}cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def stranger():
    """A private key that no service account has."""
    # Why here: it takes a tenth of a second.
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def made(caller, **options):
    answer = caller.post(MADE, {"name": "laptop", "tokenUri": TOKEN_URI}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def signed(caller, account, *, key=None, algorithm="RS256", kid=None, **changes):
    """An assertion as google-auth signs it, with other claims where they are given; None: without the claim."""
    now = int(caller.workshop.clock().timestamp())
    claims = {"iss": account["email"], "aud": GOOGLES, "scope": CLOUD_PLATFORM, "iat": now, "exp": now + 3_600}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    headers = {"kid": account["id"] if kid is None else kid}
    return jwt.encode(claims, key or account["privateKey"], algorithm, headers=headers)


def exchanged(caller, assertion):
    body = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
    return caller.post("/token", body, key="", headers={"content-type": "application/x-www-form-urlencoded"})


def refused(answer):
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    return answer.status_code, body["error"], body["error_description"]


def with_token(caller, token, path=TUNED):
    return caller.get(path, key="", headers={"authorization": f"Bearer {token}"})


def test_an_assertion_is_exchanged_for_an_access_token_of_its_key(caller):
    name = caller.create()

    answer = exchanged(caller, signed(caller, made(caller)))

    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    # The clock of the tests has a fraction of a second, which an assertion's times have not.
    assert answer.json() == {
        "access_token": token,
        "expires_in": 3_599,
        "token_type": "Bearer",
        "scope": CLOUD_PLATFORM,
    }
    assert answer.headers["cache-control"] == "no-store"
    assert with_token(caller, token, f"/v1beta/{name}").json()["name"] == name


@pytest.mark.parametrize("audience", [TOKEN_URI, GOOGLES, [GOOGLES, "https://elsewhere.example"]])
def test_an_assertion_is_for_the_token_uri_of_its_account_or_what_google_auth_writes(caller, audience):
    assert exchanged(caller, signed(caller, made(caller), aud=audience)).status_code == 200


def test_a_token_expires_with_its_assertion_however_often_that_is_sent(caller):
    assertion = signed(caller, made(caller))
    caller.workshop.clock.advance(seconds=3_000)

    answer = exchanged(caller, assertion)

    assert answer.json()["expires_in"] == 599
    caller.workshop.clock.advance(seconds=640)
    assert with_token(caller, answer.json()["access_token"]).status_code == 401
    assert refused(exchanged(caller, assertion))[:2] == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"aud": "https://elsewhere.example/token"}, f"the assertion's aud must be {TOKEN_URI}"),
        ({"aud": None}, "the assertion's aud must be"),
        ({"aud": 7}, "the assertion's aud must be"),
        ({"iss": "somebody@lab.example"}, "the assertion's iss is none of this server's service accounts"),
        ({"iss": "\x00@service-accounts.tuningfork"}, "the assertion's iss is none of this server's service accounts"),
        ({"iss": None}, "the assertion's iss is none of this server's service accounts"),
        ({"iss": "nobody@service-accounts.tuningfork"}, "the service account 'nobody@"),
        ({"kid": "another"}, "the assertion's kid must be"),
        ({"sub": "ada@example.com"}, "the assertion's sub must be"),
        ({"target_audience": "x"}, "the assertion asks for an ID token"),
        ({"exp": None}, "the assertion has no exp"),
        ({"iat": None}, "the assertion has no iat"),
        ({"exp": "soon"}, "the assertion is no JSON Web Token"),
        ({"scope": ["a"]}, "the assertion's scope is no text"),
        ({"algorithm": "RS384"}, "the assertion is no JSON Web Token that is signed with RS256"),
    ],
    ids=str,
)
def test_an_assertion_with_a_wrong_claim_is_an_invalid_grant(caller, changes, said):
    status, error, description = refused(exchanged(caller, signed(caller, made(caller), **changes)))

    assert (status, error) == (400, "invalid_grant")
    assert description.startswith(said)
    assert "tuningfork auth service-account create FILE" in description


def test_an_assertion_is_good_for_an_hour_at_most_and_not_before_it_was_made(caller):
    account, now = made(caller), int(caller.workshop.clock().timestamp())

    def said(**times):
        return refused(exchanged(caller, signed(caller, account, **times)))[2]

    assert "exp must be at most 3600 seconds after its iat; it is 3601" in said(exp=now + 3_601)
    assert said(iat=now - 7_200, exp=now - 3_600).startswith("the assertion has expired; is the clock")
    assert said(iat=now - 60, exp=now - 1).startswith("the assertion has expired")
    assert said(iat=now + 60, exp=now + 3_000).startswith("the assertion is not valid yet; is the clock")
    assert said(iat=now, exp=now).startswith("the assertion's exp must be")


def test_only_the_private_key_of_the_account_signs_for_it(caller, stranger):
    one, other = made(caller), made(caller)

    for assertion in (
        signed(caller, one, key=stranger),
        signed(caller, one, key=other["privateKey"]),
        signed(caller, one)[:-8] + "AAAAAAAA",
    ):
        status, error, description = refused(exchanged(caller, assertion))
        assert (status, error) == (400, "invalid_grant")
        assert description.startswith("the assertion is not signed with the private key of its service account")


@pytest.mark.parametrize("assertion", ["nonsense", "a.b.c", "é", "..", "e30.e30.e30"])
def test_what_is_no_assertion_is_an_invalid_grant(caller, assertion):
    assert refused(exchanged(caller, assertion))[:2] == (400, "invalid_grant")


def test_no_symmetric_signature_is_taken(caller):
    account = made(caller)

    for algorithm, key in (("HS256", "a" * 40), ("none", None)):
        assertion = jwt.encode({"iss": account["email"], "aud": GOOGLES, "iat": 1, "exp": 2}, key, algorithm)
        assert refused(exchanged(caller, assertion))[:2] == (400, "invalid_grant")


def test_an_assertion_may_ask_for_less_and_for_what_this_server_does_not_know(caller):
    scope = f"{AUTH}userinfo.email {AUTH}generative-language.tuning.readonly"

    answer = exchanged(caller, signed(caller, made(caller), scope=scope))

    assert answer.json()["scope"] == f"{AUTH}generative-language.tuning.readonly"
    assert (
        caller.post(TUNED, {}, key="", headers={"authorization": f"Bearer {answer.json()['access_token']}"}).status_code
        == 403
    )


def test_an_assertion_that_asks_for_nothing_gets_everything(caller):
    assert exchanged(caller, signed(caller, made(caller), scope=None)).json()["scope"] == CLOUD_PLATFORM


def test_an_assertion_that_asks_only_for_what_is_unknown_is_an_invalid_scope(caller):
    answer = exchanged(caller, signed(caller, made(caller), scope=f"{AUTH}userinfo.email"))

    assert refused(answer)[:2] == (400, "invalid_scope")


def test_a_revoked_account_is_an_invalid_grant(caller):
    account = made(caller)
    caller.post(f"{MADE}/{account['id']}:revoke", {})

    status, error, description = refused(exchanged(caller, signed(caller, account)))

    assert (status, error) == (400, "invalid_grant")
    assert f"service account {account['id']} is revoked" in description
    assert with_token(caller, signed(caller, account, aud=None)).status_code == 401


def test_a_service_account_dies_with_its_key(caller):
    account = made(caller)
    [ada, _] = caller.workshop.access.list_keys()
    caller.workshop.access.revoke_key(ada.id)

    description = refused(exchanged(caller, signed(caller, account)))[2]
    assert f"the API key of service account {account['id']} is revoked" in description
    assert with_token(caller, signed(caller, account, aud=None)).status_code == 401


def test_an_exchange_counts_as_a_request_of_its_key(workshop):
    caller = caller_of(workshop, quotas=Quotas(Budget(requests_per_minute=2)))
    account = made(caller)
    assert exchanged(caller, signed(caller, account)).status_code == 200

    assert refused(exchanged(caller, signed(caller, account)))[:2] == (429, "temporarily_unavailable")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://aiplatform.googleapis.com/", "scope": None},
        {"aud": None, "scope": CLOUD_PLATFORM},
        {"aud": None, "scope": f"{AUTH}generative-language.tuning.readonly {AUTH}userinfo.email"},
    ],
    ids=str,
)
def test_an_assertion_is_taken_as_an_access_token(caller, claims):
    account = made(caller)

    answer = with_token(caller, signed(caller, account, sub=account["email"], **claims))

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": "https://storage.googleapis.com/", "scope": None}, 403),
        ({"aud": None, "scope": f"{AUTH}userinfo.email"}, 403),
        ({"aud": "https://elsewhere.example/", "scope": None}, 401),
        ({"aud": GOOGLES, "scope": None}, 401),
        ({"aud": GOOGLES, "scope": CLOUD_PLATFORM}, 401),
        ({"aud": "https://elsewhere.example/", "scope": CLOUD_PLATFORM}, 401),
        ({"aud": None, "scope": None}, 401),
        ({"aud": None, "sub": "ada@example.com"}, 401),
    ],
    ids=str,
)
def test_an_assertion_for_something_else_is_no_access_token(caller, claims, status):
    assert with_token(caller, signed(caller, made(caller), **claims)).status_code == status


def test_an_assertion_of_a_stranger_is_no_access_token_and_the_log_tells_why(caller, stranger, caplog):
    assertion = signed(caller, made(caller), key=stranger, aud=None)

    assert with_token(caller, assertion).status_code == 401
    assert "the assertion is not signed with the private key of its service account" in caplog.text
    assert assertion not in caplog.text


def test_the_log_and_the_database_have_no_private_key_and_the_log_no_assertion(caller, caplog):
    caplog.set_level("DEBUG")
    account = made(caller)
    assertion = signed(caller, account)
    token = exchanged(caller, assertion).json()["access_token"]
    exchanged(caller, signed(caller, account, sub="x"))

    with caller.workshop.database.read() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM service_accounts").all())
    records = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    logged = "".join(str(vars(record)) + record.getMessage() for record in records)
    secret = account["privateKey"].splitlines()[3]
    assert account["id"] in stored
    assert "BEGIN PUBLIC KEY" in stored
    for text in (stored, logged):
        assert secret not in text
    assert assertion not in logged
    assert token not in logged


def test_accounts_are_listed_without_their_keys(caller):
    one, two = made(caller), made(caller)
    made(caller, key=caller.bobs_key)
    caller.post(f"{MADE}/{one['id']}:revoke", {})

    listed = caller.get(MADE).json()["serviceAccounts"]

    assert [(each["id"], each["name"], "revokeTime" in each) for each in listed] == [
        (one["id"], "laptop", True),
        (two["id"], "laptop", False),
    ]
    assert {name for each in listed for name in each} == {
        *("id", "name", "keyId", "email", "tokenUri", "createTime", "revokeTime")
    }


def test_nobody_revokes_the_account_of_another_person(caller):
    account = made(caller)

    answer = caller.post(f"{MADE}/{account['id']}:revoke", {}, key=caller.bobs_key)

    assert answer.status_code == 404
    assert "auth service-account list" in answer.json()["error"]["message"]
    assert exchanged(caller, signed(caller, account)).status_code == 200


LONG = f"http://{'a' * 2_000}/token"


@pytest.mark.parametrize(
    "token_uri", ["", "x", "ftp://host/token", "http://host/other", "http://[/token", "http:///token", LONG]
)
def test_a_token_uri_that_is_none_is_refused(caller, token_uri):
    answer = caller.post(MADE, {"tokenUri": token_uri})

    assert answer.status_code == 400
    assert "token_uri" in answer.json()["error"]["message"]


def test_a_person_has_a_hundred_and_no_more(caller, monkeypatch):
    # Why: a hundred keys take ten seconds, and the limit is a number.
    monkeypatch.setattr("tuningfork.service.identity.revocable.MOST_FOR_EACH_PERSON", 1)
    first = made(caller)

    answer = caller.post(MADE, {"tokenUri": TOKEN_URI})
    assert (answer.status_code, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "auth service-account revoke" in answer.json()["error"]["message"]

    caller.post(f"{MADE}/{first['id']}:revoke", {})
    second = made(caller)
    assert [each["id"] for each in caller.get(MADE).json()["serviceAccounts"]] == [second["id"]]


def test_a_server_that_asks_for_no_keys_makes_accounts_all_the_same(workshop):
    caller = caller_of(workshop, require_credential=False)
    here = {"host": "localhost"}
    account = caller.post(MADE, {"tokenUri": TOKEN_URI}, key="", headers=here).json()

    body = urlencode({"grant_type": GRANT, "assertion": signed(caller, account)}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", **here}

    assert caller.post("/token", body, key="", headers=headers).json()["token_type"] == "Bearer"


def test_an_account_that_was_made_where_nobody_needs_a_key_lets_nobody_in_where_keys_are_asked_for(caller):
    accounts = ServiceAccounts(database=caller.workshop.database, clock=caller.workshop.clock)
    made_without_key = accounts.create(LOCAL_PRINCIPAL, "laptop", TOKEN_URI)
    account = {
        "id": made_without_key.account.id,
        "email": made_without_key.account.email,
        "privateKey": made_without_key.private_key,
    }

    assert with_token(caller, signed(caller, account, aud=None)).status_code == 401
    token = exchanged(caller, signed(caller, account)).json()["access_token"]
    assert with_token(caller, token).status_code == 401
