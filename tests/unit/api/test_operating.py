"""Who runs the server sees all jobs, keys and sessions, and can end them; everybody else their own."""

import pytest

from caller import TUTORIAL_BODY, caller_of
from tuningfork.domain.tuning_job import JobState
from tuningfork.service.identity.revocable import MOST_FOR_EACH_PERSON
from tuningfork.service.quotas import Budget, Quotas
from workshop import ADA, BOB, OLGA

QUEUE, KEYS, SESSIONS = "/tuningfork/v1/queue", "/tuningfork/v1/keys", "/tuningfork/v1/sessions"
CALLER = "/tuningfork/v1/caller"


@pytest.fixture
def olga(caller):
    return caller.workshop.access.create_key("olga's", OLGA.email, OLGA.project).key


@pytest.fixture
def jobs(caller, workshop):
    """Ada's job in training, her next one, and one of Bob's."""
    running = caller.create(displayName="running")
    workshop.advance(steps=3)
    waiting = caller.create(displayName="waiting")
    bobs = caller.post("/v1beta/tunedModels", {**TUTORIAL_BODY, "displayName": "bob's"}, key=caller.bobs_key).json()
    return running, waiting, bobs["metadata"]["tunedModel"]


def listed(answer):
    return [each["tunedModel"] for each in answer.json()["jobs"]]


def message(answer):
    return answer.status_code, answer.json()["error"]["message"]


def key_id(made):
    return made["name"].removeprefix("keys/")


def test_an_address_of_the_settings_makes_an_operator(caller, olga):
    assert caller.get(CALLER, key=olga).json()["operator"] is True
    assert "operator" not in caller.get(CALLER).json()
    assert caller.get("/tuningfork/v1/engines", key=olga).status_code == 200


def test_an_operator_sees_everybodys_jobs_in_the_order_of_their_turns(caller, jobs, olga):
    running, waiting, bobs = jobs

    found = caller.get(QUEUE, key=olga).json()

    # Bob has nothing in training, so his job comes before Ada's second one.
    assert [each["tunedModel"] for each in found["jobs"]] == [running, bobs, waiting]
    assert [each.get("queue", {}).get("position") for each in found["jobs"]] == [None, 1, 2]
    first = found["jobs"][0]
    assert (first["displayName"], first["owner"], first["step"], first["totalSteps"]) == (
        "running",
        ADA.email,
        3,
        19,
    )
    assert found["everybodys"] is True
    assert found["totalSize"] == 3


def test_everybody_else_sees_the_jobs_of_their_own_models(caller, jobs):
    running, waiting, bobs = jobs

    adas, of_bob = caller.get(QUEUE), caller.get(QUEUE, key=caller.bobs_key)

    assert listed(adas) == [running, waiting]
    # The place counts everybody's jobs.
    assert adas.json()["jobs"][1]["queue"]["position"] == 2
    assert listed(of_bob) == [bobs]
    assert "everybodys" not in adas.json()


def test_jobs_that_have_ended_are_in_no_queue(caller, olga):
    caller.create_active()
    assert caller.get(QUEUE, key=olga).json() == {"totalSize": 0, "everybodys": True}


def test_an_operator_stops_a_job_of_somebody_else(caller, workshop, jobs, olga):
    _, waiting, _ = jobs
    model_id = waiting.removeprefix("tunedModels/")

    assert caller.post(f"{QUEUE}/{model_id}:cancel", key=olga).status_code == 200

    assert workshop.tuning.get(ADA, model_id).job.state is JobState.CANCELLED
    assert waiting not in listed(caller.get(QUEUE, key=olga))


def test_a_stranger_stops_no_job_and_a_model_that_is_none_is_not_found(caller, jobs, olga):
    model_id = jobs[1].removeprefix("tunedModels/")
    assert caller.post(f"{QUEUE}/{model_id}:cancel", key=caller.bobs_key).status_code == 403
    assert caller.post(f"{QUEUE}/{model_id}:cancel").status_code == 200
    assert caller.post(f"{QUEUE}/none:cancel", key=olga).status_code == 404


def test_a_job_that_was_asked_to_stop_cannot_be_stopped_again(caller, jobs, olga):
    running = jobs[0].removeprefix("tunedModels/")
    assert caller.get(QUEUE, key=olga).json()["jobs"][0]["mayCancel"] is True

    caller.post(f"{QUEUE}/{running}:cancel", key=olga)

    assert "mayCancel" not in caller.get(QUEUE, key=olga).json()["jobs"][0]


def test_a_reader_may_look_at_a_job_and_not_stop_it(caller, jobs):
    _, waiting, _ = jobs
    shared = {"granteeType": "USER", "emailAddress": BOB.email, "role": "READER"}
    assert caller.post(f"/v1beta/{waiting}/permissions", shared).status_code == 200

    [_, seen] = sorted(
        caller.get(QUEUE, key=caller.bobs_key).json()["jobs"], key=lambda each: each.get("mayCancel", False) is False
    )

    assert seen["tunedModel"] == waiting
    assert "mayCancel" not in seen


def test_everybody_lists_their_own_keys_and_an_operator_all(caller, olga):
    session = caller.post(SESSIONS, {}).json()

    mine = caller.get(KEYS).json()["keys"]
    everybodys = caller.get(KEYS, key=olga).json()["keys"]

    assert [(each["displayName"], each["email"], each["sessionCount"]) for each in mine] == [("ada's", ADA.email, 1)]
    assert [each["displayName"] for each in everybodys] == ["ada's", "bob's", "olga's"]
    assert [each.get("mine", False) for each in everybodys] == [False, False, True]
    assert caller.key not in str(everybodys)
    assert caller.key.startswith(mine[0]["prefix"])
    assert session["keyId"] == key_id(mine[0])


def test_a_new_key_is_shown_once_and_is_good(caller):
    answer = caller.post(KEYS, {"displayName": "for the nightly job"})

    made = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert caller.get(CALLER, key=made["key"]).json()["email"] == ADA.email
    assert made["key"] not in caller.get(KEYS).text


def test_an_operator_makes_keys_for_others_and_other_projects(caller, olga):
    wanted = {"displayName": "bob's second", "email": "BOB@example.com", "project": "99"}

    made = caller.post(KEYS, wanted, key=olga).json()

    theirs = caller.get(CALLER, key=made["key"]).json()
    assert (theirs["email"], theirs["project"]) == (BOB.email, "99")


def test_a_session_makes_no_key(caller):
    session = caller.post(SESSIONS, {}).json()["credential"]

    answer = caller.post(KEYS, {}, key=session)

    assert answer.status_code == 403
    assert answer.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    assert caller.get(KEYS, key=session).status_code == 200


def test_where_keys_have_budgets_only_operators_make_further_ones(workshop):
    limited = caller_of(workshop, quotas=Quotas(Budget(requests_per_minute=1_000)))
    olga = workshop.access.create_key("olga's", OLGA.email, OLGA.project).key

    status, said = message(limited.post(KEYS, {}))

    assert status == 403
    assert "further budget" in said
    assert limited.post(KEYS, {}, key=olga).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "field"),
    [({"displayName": "x" * 201}, "name"), ({"email": "nobody"}, "email"), ({"project": "a\nb"}, "project")],
)
def test_what_cannot_be_a_key_is_refused_by_field(caller, olga, wanted, field):
    answer = caller.post(KEYS, wanted, key=olga)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


def test_a_person_has_a_hundred_keys_at_most_and_revoked_ones_do_not_count(caller):
    access = caller.workshop.access
    for _ in range(MOST_FOR_EACH_PERSON - 1):
        last = access.create_key("", ADA.email, ADA.project)

    full = caller.post(KEYS, {})
    access.revoke_key(last.record.id)

    assert full.status_code == 429
    assert caller.post(KEYS, {}).status_code == 200


def test_a_revoked_key_is_refused_with_its_sessions(caller):
    made = caller.post(KEYS, {}).json()
    session = caller.post(SESSIONS, {}, key=made["key"]).json()["credential"]

    revoked = caller.post(f"{KEYS}/{key_id(made)}:revoke").json()

    assert "revokeTime" in revoked
    assert caller.get(CALLER, key=made["key"]).status_code == 400
    assert caller.get(CALLER, key=session).status_code == 400


def test_keys_of_others_are_revoked_by_operators_alone(caller, olga):
    adas = key_id(caller.get(KEYS).json()["keys"][0])

    refused = caller.post(f"{KEYS}/{adas}:revoke", key=caller.bobs_key)
    assert refused.status_code == 404
    assert caller.get(CALLER).status_code == 200

    assert caller.post(f"{KEYS}/{adas}:revoke", key=olga).status_code == 200
    assert caller.get(CALLER).status_code == 400


def test_an_operator_lists_and_ends_the_sessions_of_all(caller, olga):
    adas, bobs = (caller.post(SESSIONS, {}, key=key).json() for key in (caller.key, caller.bobs_key))

    everybodys = caller.get(f"{SESSIONS}?everybodys=true", key=olga).json()["sessions"]
    refused = caller.get(f"{SESSIONS}?everybodys=true")

    assert {each["email"] for each in everybodys} == {ADA.email, BOB.email}
    assert refused.status_code == 403
    assert caller.call("DELETE", f"/tuningfork/v1/{bobs['name']}").status_code == 404
    assert caller.call("DELETE", f"/tuningfork/v1/{bobs['name']}", key=olga).status_code == 200
    assert caller.get(CALLER, key=bobs["credential"]).status_code == 400
    assert caller.get(CALLER, key=adas["credential"]).status_code == 200
