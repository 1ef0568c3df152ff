"""What jobs are doing, more closely than their operations tell, over HTTP."""

import pytest

from tuningfork.domain.job_stage import Beginning
from tuningfork.domain.tuning_job import Snapshot
from workshop import ADA

LOADING = Beginning(base="models/echo-001", seconds=12.34, usual_seconds=30.0)


def stage_of(caller, name, **options):
    return caller.get(f"/tuningfork/v1/{name}/stage", **options)


def test_a_job_that_waits_for_its_base_says_so_and_for_how_long(caller, workshop):
    name = caller.create()
    assert stage_of(caller, name).json() == {"tunedModel": name, "stage": "QUEUED"}

    job_id = workshop.running.claim().job_id
    workshop.executor.not_taken_up[job_id] = Beginning()
    assert stage_of(caller, name).json()["stage"] == "STARTING"

    workshop.executor.not_taken_up[job_id] = LOADING
    told = {
        "tunedModel": name,
        "stage": "LOADING_BASE",
        "loadingBaseModel": "models/echo-001",
        "loadingSeconds": 12.3,
        "usualLoadingSeconds": 30,
    }
    assert stage_of(caller, name).json() == told
    assert caller.get("/tuningfork/v1/stages").json() == {"stages": [told]}

    del workshop.executor.not_taken_up[job_id]
    assert stage_of(caller, name).json() == {"tunedModel": name, "stage": "TRAINING"}


def test_a_job_that_the_trainer_cannot_take_up_says_why_without_the_servers_directories(caller, workshop):
    name = caller.create()
    reason = "memory is short: base model models/echo-001 (/srv/bases/echo) needs 9.0 GiB of memory"
    workshop.executor.not_taken_up[workshop.running.claim().job_id] = Beginning(held_up_by=reason)

    assert stage_of(caller, name).json() == {
        "tunedModel": name,
        "stage": "HELD_UP",
        "heldUpBy": "memory is short: base model models/echo-001 (echo) needs 9.0 GiB of memory",
    }


def test_the_operation_stays_as_the_gemini_api_has_it(caller, workshop):
    name = caller.create()
    before = caller.get(f"/v1beta/{caller.operation_of(name)}").json()

    workshop.executor.not_taken_up[workshop.running.claim().job_id] = LOADING

    assert caller.get(f"/v1beta/{caller.operation_of(name)}").json() == before


def test_ended_jobs_have_a_stage_and_are_not_listed(caller, workshop):
    name = caller.create_active()
    # The trainer's last report may be late.
    workshop.executor.not_taken_up[workshop.tuning.get(ADA, name.removeprefix("tunedModels/")).job.id] = LOADING

    assert stage_of(caller, name).json() == {"tunedModel": name, "stage": "ENDED"}
    assert caller.get("/tuningfork/v1/stages").json() == {}


def test_a_stranger_sees_no_stage(caller):
    name = caller.create()

    assert stage_of(caller, name, key=caller.bobs_key).status_code == 403
    assert caller.get("/tuningfork/v1/stages", key=caller.bobs_key).json() == {}


def test_the_list_has_pages(caller):
    names = [caller.create(displayName=f"m{number}") for number in range(3)]

    first = caller.get("/tuningfork/v1/stages?pageSize=2").json()
    second = caller.get(f"/tuningfork/v1/stages?pageSize=2&pageToken={first['nextPageToken']}").json()

    assert [each["tunedModel"] for page in (first, second) for each in page["stages"]] == names


def test_a_job_in_training_tells_how_long_the_rest_takes(caller, workshop):
    name = caller.create()
    job_id = workshop.running.claim().job_id
    assert "secondsLeft" not in stage_of(caller, name).json()

    for step in range(1, 4):
        taken = Snapshot(step=step, epoch=0, mean_loss=1.0, compute_time=workshop.clock())
        workshop.running.record(job_id, taken, tokens=12)
    left = stage_of(caller, name).json()["secondsLeft"]

    assert left == pytest.approx(workshop.running.speeds.seconds_left(job_id, 19 - 3), abs=0.1)
    assert caller.get("/tuningfork/v1/stages").json()["stages"][0]["secondsLeft"] == left
