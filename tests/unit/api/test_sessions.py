"""Sessions over HTTP: begun with a key or a token, with no more rights than it, and ended in five ways."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

import issuer as issuers
from caller import caller_of, identity_of
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.scopes import Scope
from tuningfork.domain.session import MOST_FOR_EACH_PERSON
from tuningfork.service.identity.issuer_keys import IssuerKeys
from tuningfork.service.identity.openid import OpenIdTokens, TrustedIssuer
from tuningfork.service.identity.wrong_tries import WrongTries
from tuningfork.store.credential_tables import sessions as table
from workshop import ADA, BOB

SESSIONS = "/tuningfork/v1/sessions"
CALLER = "/tuningfork/v1/caller"
TUNED = "/v1beta/tunedModels"
UNKNOWN = (400, "API key not valid. Please pass a valid API key.")


def begin(caller, **options):
    answer = caller.post(SESSIONS, {"displayName": "Firefox on my desk"}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def lifetime_of(session):
    begun, ends = (datetime.fromisoformat(session[name]) for name in ("createTime", "expireTime"))
    return ends - begun


def bearer(session):
    return {"key": "", "headers": {"authorization": f"Bearer {session['credential']}"}}


def refusal(answer):
    return answer.status_code, answer.json()["error"]["message"]


def test_a_key_gets_a_session_of_two_weeks(caller):
    answer = caller.post(SESSIONS, {"displayName": "Firefox on my desk"})

    session = answer.json()
    assert session["displayName"] == "Firefox on my desk"
    assert session["email"] == ADA.email
    assert lifetime_of(session) == timedelta(days=14)
    assert session["credential"].startswith("tf_session_")
    assert answer.headers["cache-control"] == "no-store"


def test_a_session_needs_no_name_and_no_body(caller):
    assert caller.post(SESSIONS).json()["name"].startswith("sessions/")


def test_the_database_has_no_credential(caller):
    session = begin(caller)
    with caller.workshop.database.read() as connection:
        [row] = connection.execute(select(table)).mappings()
    assert session["credential"] not in map(str, row.values())


@pytest.mark.parametrize("way", ["key", "query", "bearer", "Bearer in query"])
def test_the_credential_is_good_wherever_a_key_is(caller, way):
    name = caller.create()
    credential = begin(caller)["credential"]
    path, headers = f"/v1/{name}", {}
    match way:
        case "key":
            headers = {"x-goog-api-key": credential}
        case "query":
            path += f"?key={credential}"
        case "bearer":
            headers = {"authorization": f"Bearer {credential}"}
        case _:
            path += f"?access_token={credential}"

    assert caller.get(path, key="", headers=headers).json()["name"] == name


def test_a_session_has_the_person_the_project_and_the_budget_of_its_key(caller):
    ours = caller.workshop.access.authenticate(caller.key)

    theirs = caller.services.gate.identity.of_key(begin(caller)["credential"]).principal

    assert (theirs.email, theirs.project, theirs.credential) == (ours.email, ours.project, ours.credential)


@pytest.mark.parametrize("path", [SESSIONS, "/tuningfork/v1/refreshTokens", "/tuningfork/v1/accessTokens"])
def test_a_session_makes_no_further_credentials(caller, path):
    answer = caller.post(path, {}, **bearer(begin(caller)))
    assert answer.status_code == 403
    assert answer.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


def test_a_session_of_a_token_has_the_scopes_of_the_token_and_ends_with_it(caller):
    name = caller.create()
    token = caller.token("generative-language.tuning.readonly", lifetime="600s")

    session = begin(caller, key="", headers={"authorization": f"Bearer {token}"})

    assert session["expireTime"] == "2024-03-14T15:19:04Z"
    assert caller.get(f"/v1beta/{name}", **bearer(session)).status_code == 200
    refused = caller.call("DELETE", f"/v1beta/{name}", **bearer(session))
    assert refusal(refused) == (403, "Request had insufficient authentication scopes.")
    assert caller.get(SESSIONS, **bearer(session)).status_code == 403
    caller.workshop.clock.advance(seconds=600)
    assert caller.get(f"/v1beta/{name}", **bearer(session)).status_code == 401


def test_a_session_of_an_issuers_token_lasts_twelve_hours(workshop, clock):
    with issuers.running() as issuer:
        trusted = TrustedIssuer(url=issuer.url, audience="tuningfork", scopes=frozenset(Scope))
        outside = OpenIdTokens(trusted, IssuerKeys(issuer.url), lambda: datetime.now(UTC))
        identity = identity_of(workshop, outside)
        caller = caller_of(workshop, gate=Gate(identity=identity, quotas=workshop.quotas))
        now = int(datetime.now(UTC).timestamp())
        said = {"iss": issuer.url, "aud": "tuningfork", "email": "ada@example.com", "exp": now + 900}
        token = issuer.token(**said, scope=str(Scope.CLOUD_PLATFORM))

        session = begin(caller, key="", headers={"authorization": f"Bearer {token}"})

    known = caller.get(CALLER, **bearer(session)).json()
    assert (known["email"], known["credential"]) == ("ada@example.com", "SESSION")
    assert lifetime_of(session) == timedelta(hours=12)
    assert "keyId" not in session
    clock.advance(seconds=12 * 3600)
    assert caller.get(CALLER, **bearer(session)).status_code == 401


def test_a_session_ends_with_its_key(caller):
    session = begin(caller)
    assert caller.get(TUNED, **bearer(session)).status_code == 200
    [ada, _] = caller.workshop.access.list_keys()

    caller.workshop.access.revoke_key(ada.id)

    assert caller.get(TUNED, **bearer(session)).status_code == 401
    assert caller.get(TUNED, key=session["credential"]).status_code == 400


def test_a_session_ends_in_its_own_time(caller):
    session = begin(caller)
    caller.workshop.clock._now += timedelta(days=14, seconds=-1)
    assert caller.get(TUNED, **bearer(session)).status_code == 200

    caller.workshop.clock._now += timedelta(seconds=1)

    assert caller.get(TUNED, **bearer(session)).status_code == 401
    assert caller.get(SESSIONS).json() == {}


@pytest.mark.parametrize("named", ["current", "by its id"])
def test_a_session_ends_when_it_is_ended(caller, named):
    session = begin(caller)
    other = begin(caller)
    path = f"{SESSIONS}/current" if named == "current" else f"/tuningfork/v1/{session['name']}"

    assert caller.call("DELETE", path, **bearer(session)).json() == {}

    assert caller.get(TUNED, **bearer(session)).status_code == 401
    assert [each["name"] for each in caller.get(SESSIONS).json()["sessions"]] == [other["name"]]


def test_ending_the_current_session_of_a_key_changes_nothing(caller):
    session = begin(caller)
    assert caller.call("DELETE", f"{SESSIONS}/current").json() == {}
    assert caller.get(TUNED, **bearer(session)).status_code == 200


def test_somebody_elses_session_can_be_neither_seen_nor_ended(caller):
    session = begin(caller)

    answer = caller.call("DELETE", f"/tuningfork/v1/{session['name']}", key=caller.bobs_key)

    session_id = session["name"].removeprefix("sessions/")
    assert refusal(answer) == (404, f"Session {session_id} does not exist, or has ended.")
    assert caller.get(SESSIONS, key=caller.bobs_key).json() == {}
    assert caller.get(TUNED, **bearer(session)).status_code == 200


def test_the_list_is_of_all_keys_of_a_person_the_newest_first(caller):
    second = caller.workshop.access.create_key("ada's second", ADA.email, ADA.project).key
    old = begin(caller)
    caller.workshop.clock.advance(seconds=1)
    new = begin(caller, key=second)

    listed = caller.get(SESSIONS, **bearer(old)).json()["sessions"]

    assert [(each["name"], each.get("current")) for each in listed] == [(new["name"], None), (old["name"], True)]
    assert all("credential" not in each for each in listed)


def test_the_operator_sees_how_many_sessions_a_key_has(caller):
    begin(caller)
    ended = begin(caller)
    [ada, _] = caller.workshop.access.list_keys()
    assert caller.workshop.access.count_sessions() == {ada.id: 2}
    caller.call("DELETE", f"/tuningfork/v1/{ended['name']}")
    assert caller.workshop.access.count_sessions() == {ada.id: 1}


def test_the_oldest_session_makes_room(caller):
    sessions = caller.services.gate.identity.sessions
    principal = caller.workshop.access.authenticate(caller.key)
    begun = []
    for _ in range(MOST_FOR_EACH_PERSON + 1):
        begun.append(sessions.begin(principal, "").session)
        caller.workshop.clock.advance(seconds=1)

    assert list(sessions.list(principal)) == begun[:0:-1]


def test_the_caller_is_told_who_they_are(caller):
    session = begin(caller)
    token = caller.token("cloud-platform")
    known = {"email": ADA.email, "project": ADA.project}
    own = {name: value for name, value in session.items() if name != "credential"}

    assert caller.get(CALLER).json() == {**known, "credential": "API_KEY"}
    assert caller.get(CALLER, key="", headers={"authorization": f"Bearer {token}"}).json() == {
        **known,
        "credential": "ACCESS_TOKEN",
    }
    assert caller.get(CALLER, **bearer(session)).json() == {
        **known,
        "credential": "SESSION",
        "session": {**own, "current": True},
    }
    assert caller.get(CALLER, key=caller.bobs_key).json()["email"] == BOB.email


def test_whoever_runs_the_server_is_told_so(caller):
    key = caller.workshop.access.create_key("first", "me@localhost", "local").key
    assert caller.get(CALLER, key=key).json()["operator"] is True


def test_a_server_without_credentials_needs_no_sessions(workshop):
    caller = caller_of(workshop, require_credential=False)
    local = {"key": "", "headers": {"host": "localhost"}}

    assert caller.get(CALLER, **local).json() == {
        "email": "me@localhost",
        "project": "local",
        "credential": "NONE",
        "operator": True,
    }
    answer = caller.post(SESSIONS, {}, **local)
    said = "This server asks for no credentials (--no-auth), so it needs no sessions."
    assert refusal(answer) == (400, said)


def test_a_name_that_is_too_long_is_refused(caller):
    answer = caller.post(SESSIONS, {"displayName": "x" * 201})
    assert answer.status_code == 400
    assert "display_name must be at most 200 printable characters; 201 were given" in answer.text


def test_five_wrong_keys_from_an_address_close_the_door_for_half_a_minute(workshop):
    now = [0.0]
    identity = identity_of(workshop)
    gate = Gate(identity=identity, quotas=workshop.quotas, wrong_tries=WrongTries(lambda: now[0]))
    caller = caller_of(workshop, gate=gate)
    for _ in range(5):
        assert refusal(caller.post(SESSIONS, {}, key="tf_nonsense")) == UNKNOWN

    answer = caller.post(SESSIONS, {})

    said = "Too many wrong credentials have come from this address. Try again in 30 seconds."
    assert refusal(answer) == (429, said)
    assert answer.headers["retry-after"] == "30"
    # Other methods are not guarded: whoever has a key goes on working.
    assert caller.get(TUNED).status_code == 200
    now[0] += 30
    assert caller.post(SESSIONS, {}).status_code == 200
