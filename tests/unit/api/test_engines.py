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


def test_errors_of_the_last_day_are_counted_by_status_and_endpoint(caller, operators_key):
    for _ in range(3):
        last = caller.get("/tuningfork/v1/tunedModels/none/job")
    caller.get("/v1beta/tunedModels", key="tf_nonsense")

    errors = caller.get(PATH, key=operators_key).json()["errors"]

    assert [(each["status"], each["endpoint"], each["count"]) for each in errors] == [
        (400, "list_tuned_models", 1),
        (404, "job", 3),
    ]
    assert errors[1]["lastRequestId"] == last.headers["x-request-id"]
    registry = caller.services.registry
    for each in errors:
        labels = {"endpoint": each["endpoint"], "status": str(each["status"])}
        assert registry.get_sample_value("tuningfork_http_request_seconds_count", labels) == each["count"]


def test_the_memory_of_errors_is_bounded_whatever_an_application_answers():
    clock = Clock()
    errors = RecentErrors(clock)
    for number in range(3_000):
        errors.note(400, f"endpoint {number}", "x" * 32)
    kept = errors.of_last_day()
    clock.advance(hours=25)
    errors.note(500, "job", "last")

    assert len(kept) == 1_000
    assert [each.endpoint for each in errors.of_last_day()] == ["job"]
    assert len(errors._last) == 1


def test_work_of_the_last_hour_is_that_of_the_metrics(caller, operators_key):
    name = caller.create_active()
    asked = caller.post(f"/v1beta/{name}:generateContent", {"contents": [{"parts": [{"text": "1"}]}]})
    assert asked.status_code == 200

    minutes = caller.get(PATH, key=operators_key).json()["minutes"]

    registry = caller.services.registry
    for field, metric in [
        ("answers", "tuningfork_generation_seconds_count"),
        ("outputTokens", "tuningfork_generation_output_tokens_total"),
        ("promptTokens", "tuningfork_generation_prompt_tokens_total"),
        ("steps", "tuningfork_tuning_steps_total"),
        ("trainedTokens", "tuningfork_tuning_tokens_total"),
    ]:
        assert sum(each[field] for each in minutes) == registry.get_sample_value(metric) > 0, field


def test_what_is_kept_on_the_disk_is_told_by_kind(caller, operators_key):
    disk = caller.get(PATH, key=operators_key).json()["disk"]
    assert disk == {"kept": [{"kind": "adapters", "sizeBytes": 3000}], "freeBytes": 4000}


def test_errors_are_forgotten_after_a_day():
    clock = Clock()
    errors = RecentErrors(clock)
    errors.note(404, "job", "first")
    errors.note(200, "job", "fine")
    clock.advance(hours=2)
    errors.note(404, "job", "second")
    [both] = errors.of_last_day()
    clock.advance(hours=22.5)
    [later] = errors.of_last_day()
    clock.advance(hours=2)

    assert (both.count, later.count) == (2, 1)
    assert both.last_request_id == later.last_request_id == "second"
    assert both.last_time - datetime.fromisoformat("2024-03-14T17:09:04Z") < timedelta(seconds=1)
    assert errors.of_last_day() == ()


def test_nobody_else_sees_the_engines(caller):
    answer = caller.get(PATH)
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith("Only whoever runs the server may look at its engines: ")
