"""What the engines hold and do, over HTTP, for whoever runs the server."""

from datetime import datetime, timedelta

import pytest

from caller import TUTORIAL_BODY
from fakes import Clock
from tuningfork.service.recent_errors import RecentErrors
from workshop import ADA, BOB

PATH = "/tuningfork/v1/engines"


@pytest.fixture
def operators_key(caller):
    return caller.workshop.access.create_key("first key", "me@localhost", "local").key


def test_whoever_runs_the_server_sees_jobs_queue_and_processes(caller, workshop, operators_key):
    name = caller.create(displayName="running")
    workshop.advance(steps=3)
    caller.create()
    caller.post("/v1beta/tunedModels", TUTORIAL_BODY, key=caller.bobs_key)

    found = caller.get(PATH, key=operators_key).json()

    assert found["trainer"]["jobs"] == [
        {"tunedModel": name, "baseModel": "models/echo-001", "owner": ADA.email, "step": 3, "totalSteps": 19}
    ]
    assert found["queue"] == {
        "waitingJobs": 2,
        "runningJobs": 1,
        "owners": [
            {"email": ADA.email, "waitingJobs": 1, "runningJobs": 1},
            {"email": BOB.email, "waitingJobs": 1, "runningJobs": 0},
        ],
    }
    assert found["processes"] == [
        {"role": "server", "residentBytes": 1000},
        {"role": "trainer", "residentBytes": 2000},
    ]


def test_adapters_in_memory_are_named_by_their_models(caller, workshop, operators_key):
    name = caller.create_active()
    model_id = name.removeprefix("tunedModels/")
    answered = caller.post(f"/v1beta/{name}:generateContent", {"contents": [{"parts": [{"text": "1"}]}]})
    assert answered.status_code == 200

    [adapter] = caller.get(PATH, key=operators_key).json()["generator"]["adapters"]

    assert adapter["tunedModel"] == f"tunedModels/{model_id}"
    assert adapter["sizeBytes"] > 0


def test_errors_of_the_last_day_are_counted_by_status(caller, operators_key):
    for _ in range(3):
        caller.get("/tuningfork/v1/tunedModels/none/job")
    caller.get("/v1beta/tunedModels", key="tf_nonsense")

    errors = caller.get(PATH, key=operators_key).json()["errors"]

    assert [(each["status"], each["count"]) for each in errors] == [(400, 1), (404, 3)]


def test_errors_are_forgotten_after_a_day():
    clock = Clock()
    errors = RecentErrors(clock)
    errors.note(404)
    errors.note(200)
    clock.advance(hours=2)
    errors.note(404)
    [both] = errors.of_last_day()
    clock.advance(hours=22.5)
    [later] = errors.of_last_day()
    clock.advance(hours=2)

    assert (both.count, later.count) == (2, 1)
    assert both.last_time - datetime.fromisoformat("2024-03-14T17:09:04Z") < timedelta(seconds=1)
    assert errors.of_last_day() == ()


def test_nobody_else_sees_the_engines(caller):
    answer = caller.get(PATH)
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith("Only whoever runs the server may look at its engines: ")
