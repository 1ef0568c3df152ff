"""One job in full, over HTTP: its state, place, losses, events, settings and failure; and tags for those who poll."""

from datetime import datetime

import pytest

from caller import TUTORIAL_BODY
from tuningfork.domain.errors import Code
from tuningfork.domain.job_stage import Beginning
from workshop import ADA

ONE_STEP = {
    "hyperparameters": {"batchSize": 1, "learningRate": 0.1, "epochCount": 1},
    "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
}


def job_of(caller, name, **options):
    answer = caller.get(f"/tuningfork/v1/{name}/job", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kinds(job):
    return [each["kind"] for each in job["events"]]


def validated(caller, **changes):
    pairs = [{"textInput": "twenty", "output": "twenty one"}]
    task = {**TUTORIAL_BODY["tuningTask"], "validation": {"examples": {"examples": pairs}, "evaluateEvery": 4}}
    answer = caller.post("/tuningfork/v1/tunedModels", {**TUTORIAL_BODY, "tuningTask": task, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()["metadata"]["tunedModel"]


def test_a_waiting_job_says_who_waits_before_it_and_invents_nothing(caller):
    first, second = caller.create(), caller.create()

    job = job_of(caller, second)

    assert (job["state"], job["phase"]) == ("QUEUED", "QUEUED")
    assert job["queue"] == {"position": 2, "jobsAhead": 1, "waitingJobs": 2, "runningJobs": 0}
    assert job_of(caller, first)["queue"]["position"] == 1
    assert (job["step"], job["totalSteps"], job["epoch"], job["epochCount"]) == (0, 19, 0, 5)
    unknown = {"secondsLeft", "estimatedEndTime", "lastTrainingLoss", "lastValidation", "startTime", "failure"}
    assert unknown.isdisjoint(job)
    # There are two places, and nobody has one.
    assert job["estimatedStartTime"] == "2024-03-14T15:09:04Z"
    assert kinds(job) == ["CREATED"]


def test_owners_take_turns_in_the_queue(caller):
    adas = [caller.create() for _ in range(2)]
    bobs = caller.post("/v1beta/tunedModels", TUTORIAL_BODY, key=caller.bobs_key).json()["metadata"]["tunedModel"]

    places = [job_of(caller, name)["queue"]["position"] for name in adas]

    assert places == [1, 3]
    assert job_of(caller, bobs, key=caller.bobs_key)["queue"]["position"] == 2


def test_when_a_job_starts_is_not_known_if_it_depends_on_jobs_that_wait(caller, workshop):
    names = [caller.create() for _ in range(4)]
    for _ in range(2):
        workshop.running.claim()

    assert "estimatedStartTime" not in job_of(caller, names[2])
    assert job_of(caller, names[2])["queue"] == {"position": 1, "jobsAhead": 0, "waitingJobs": 2, "runningJobs": 2}


def test_a_running_job_tells_its_progress_and_losses(caller, workshop):
    name = caller.create()
    workshop.advance(steps=8)

    job = job_of(caller, name)

    assert (job["state"], job["phase"], job["step"], job["epoch"]) == ("RUNNING", "TRAINING", 8, 2)
    assert job["lastTrainingLoss"] == 1.0
    assert (job["lowestTraining"]["step"], job["lowestTraining"]["meanLoss"]) == (8, 1.0)
    assert kinds(job) == ["CREATED", "STARTED"]
    assert job["updateTime"] == job["lastReportTime"]
    assert "queue" not in job


def test_a_job_that_waits_for_its_base_or_for_memory_says_so(caller, workshop):
    name = caller.create()
    job_id = workshop.running.claim().job_id
    workshop.executor.not_taken_up[job_id] = Beginning(base="models/echo-001", seconds=12.34, usual_seconds=30.0)
    loading = job_of(caller, name)
    workshop.executor.not_taken_up[job_id] = Beginning(held_up_by="memory is short")
    held_up = job_of(caller, name)

    assert loading["phase"] == "LOADING_BASE"
    assert loading["loading"] == {"baseModel": "models/echo-001", "seconds": 12.3, "usualSeconds": 30}
    assert (held_up["phase"], held_up["heldUpBy"]) == ("HELD_UP", "memory is short")


def test_a_trainer_that_died_is_an_event(caller, workshop):
    name = caller.create()
    assignment = workshop.advance(steps=4)
    workshop.running.give_back(assignment.job_id, died=True, reason="the trainer ended unexpectedly (signal 9)")
    again = job_of(caller, name)
    workshop.advance()

    assert kinds(again) == ["CREATED", "STARTED", "WAITS_AGAIN"]
    assert again["events"][-1]["message"] == "the trainer ended unexpectedly (signal 9)"
    assert again["queue"]["position"] == 1
    done = job_of(caller, name)
    assert kinds(done) == ["CREATED", "STARTED", "WAITS_AGAIN", "RESUMED", "CHECKPOINT", "SUCCEEDED"]
    assert [each.get("step") for each in done["events"]] == [None, None, None, None, 19, None]


def test_a_job_that_succeeded_has_its_validation_losses_and_can_be_called(caller, workshop):
    name = validated(caller)
    workshop.advance()

    job = job_of(caller, name)

    assert (job["state"], job["phase"], job["callable"]) == ("SUCCEEDED", "ENDED", True)
    assert (job["lastValidation"]["step"], job["lastValidation"]["meanLoss"]) == (19, 1)
    assert job["bestValidation"]["step"] == 4
    assert datetime.fromisoformat(job["completeTime"]) > datetime.fromisoformat(job["startTime"])
    assert job["data"] == {"exampleCount": 15, "validationExampleCount": 1}


def test_the_settings_are_those_in_use_and_say_which_are_the_defaults(caller):
    name = caller.create(
        tuningTask={**TUTORIAL_BODY["tuningTask"], "hyperparameters": {"batchSize": 4, "learningRate": 0.002}}
    )

    settings = {each["name"]: (each["value"], each["default"]) for each in job_of(caller, name)["settings"]}

    assert settings == {
        "epochCount": (5, True),
        "batchSize": (4, True),
        "learningRate": (0.002, False),
        "adapterRank": (4, True),
        "adapterAlpha": (16, True),
        "validationExampleCount": (0, True),
        "checkpointStepsEvery": (0, True),
        "checkpointEpochsEvery": (0, True),
    }


def test_a_diverged_job_names_the_cause_and_the_cure(caller, workshop):
    name = caller.create(tuningTask=ONE_STEP)
    said = (
        "the training diverged at step 1: its loss is nan or its gradient is not finite. The learning rate 0.1 is too "
        "high for this data; try 0.01"
    )
    workshop.executor.fail_before(1, said, code=Code.INVALID_ARGUMENT)
    workshop.advance()

    job = job_of(caller, name)

    assert job["failure"] == {
        "kind": "DIVERGED",
        "code": "INVALID_ARGUMENT",
        "message": said,
        "cause": "The learning rate 0.1 is too high for this data.",
        "fix": "Tune again with a learning rate of 0.01.",
        "suggestedLearningRate": 0.01,
    }
    assert kinds(job)[-1] == "FAILED"
    assert "callable" not in job


def test_a_cancelled_job_has_no_failure(caller, workshop):
    name = caller.create()
    workshop.tuning.cancel(ADA, name.removeprefix("tunedModels/"))

    job = job_of(caller, name)

    assert job["state"] == "CANCELLED"
    assert "failure" not in job
    assert kinds(job) == ["CREATED", "CANCELLED"]


def test_a_reader_may_look_and_a_stranger_may_not(caller):
    name = caller.create()
    assert caller.get(f"/tuningfork/v1/{name}/job", key=caller.bobs_key).status_code == 403
    assert caller.get(f"/tuningfork/v1/{name}/series", key=caller.bobs_key).status_code == 403
    granted = {"granteeType": "USER", "emailAddress": "bob@example.com", "role": "READER"}
    assert caller.post(f"/v1beta/{name}/permissions", granted).status_code == 200

    job = job_of(caller, name, key=caller.bobs_key)

    assert (job["owner"], job["role"]) == (ADA.email, "READER")
    assert job_of(caller, name)["role"] == "OWNER"
    assert caller.get("/tuningfork/v1/tunedModels/none/job").status_code == 404


@pytest.mark.parametrize("part", ["job", "series"])
def test_whoever_sends_the_tag_of_the_last_answer_gets_only_news(caller, workshop, part):
    name = caller.create_active()
    path = f"/tuningfork/v1/{name}/{part}"
    first = caller.get(path)
    tag = first.headers["etag"]

    same = caller.get(path, headers={"if-none-match": tag})
    weak = caller.get(path, headers={"if-none-match": f'"other", W/{tag}'})
    other = caller.get(path, headers={"if-none-match": '"other"'})

    assert first.headers["cache-control"] == "private, no-cache"
    assert [(each.status_code, each.content) for each in (same, weak)] == [(304, b""), (304, b"")]
    assert same.headers["etag"] == tag
    assert (other.status_code, other.json()) == (200, first.json())


def test_refusals_have_no_tag(caller):
    answer = caller.get("/tuningfork/v1/tunedModels/none/job")
    assert (answer.status_code, "etag" in answer.headers) == (404, False)
