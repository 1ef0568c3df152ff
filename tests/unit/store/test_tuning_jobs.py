"""Rows of jobs: what is kept, and which changes of state the store lets through."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from store_rows import ECHO, NOW, keep, model, new_job
from tuningfork.domain.conversation import Speaker, Turn
from tuningfork.domain.data_statistics import Bucket, DataStatistics, Distribution, DroppedExample
from tuningfork.domain.errors import Code
from tuningfork.domain.hyperparameters import NO_TRAINING, RequestedHyperparameters
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.preparation import Preparation, UnreadFiles
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import TRANSITIONS, JobError, JobId, JobState, Snapshot
from tuningfork.domain.turns import Tenant
from tuningfork.store import snapshots, tuned_models, tuning_jobs
from tuningfork.store.schema import job_events
from tuningfork.store.tuned_models import IdTaken
from tuningfork.store.tuning_jobs import QueuedJob

ADAS = Tenant(owner="ada@example.com")
CANCELLED = JobError(code=Code.CANCELLED, message="The job was cancelled.")
PATHS = {
    JobState.PREPARING: [],
    JobState.QUEUED: [],
    JobState.RUNNING: [JobState.RUNNING],
    JobState.SUCCEEDED: [JobState.RUNNING, JobState.SUCCEEDED],
    JobState.FAILED: [JobState.RUNNING, JobState.FAILED],
    JobState.CANCELLED: [JobState.CANCELLED],
}


def error_for(state):
    return CANCELLED if state in (JobState.FAILED, JobState.CANCELLED) else None


def bring(database, job, state):
    with database.write() as connection:
        for step in PATHS[state]:
            assert tuning_jobs.move(connection, job.id, step, NOW, error=error_for(step))


def found(database, job):
    with database.read() as connection:
        now = tuning_jobs.find(connection, job.id)
        return now and replace(now, snapshots=snapshots.snapshots_of(connection, now))


def snapshot(step):
    return Snapshot(step=step, epoch=step // 4, mean_loss=1.5 / step, compute_time=NOW + timedelta(microseconds=step))


def test_a_job_comes_back_as_it_was_kept(database):
    job = keep(database, new_job("a", learning_rate_multiplier=2.0))
    assert found(database, job) == job


def test_a_job_whose_examples_are_in_a_bucket_comes_back_without_examples_and_hyperparameters(database):
    preparation = Preparation(
        training_uri="gs://b/training.jsonl",
        validation_uri="gs://b/validation.jsonl",
        hyperparameters=RequestedHyperparameters(epoch_count=3, objective=DirectPreferenceOptimization(beta=0.2)),
        keeps_checkpoints=True,
        reader=Principal(email=Email("ada@example.com"), project="p"),
        unread=UnreadFiles(seconds=12.5, last_try=NOW),
    )
    unprepared = {"example_count": 0, "hyperparameters": NO_TRAINING, "is_prepared": False}
    job = replace(new_job("a"), state=JobState.PREPARING, preparation=preparation, **unprepared)
    keep(database, job)

    assert found(database, job) == job
    assert found(database, job).total_steps == 0


def test_a_job_keeps_what_its_request_said_and_the_statistics_of_its_examples(database):
    spread = Distribution(
        sum=9,
        billable_sum=8,
        min=1,
        max=5,
        mean=3.0,
        median=3.0,
        p5=1,
        p95=5,
        buckets=(Bucket(count=3, left=1, right=5),),
    )
    statistics = DataStatistics(
        examples=4,
        characters=30,
        billable_characters=25,
        billable_tokens=18,
        input_tokens=spread,
        output_tokens=spread,
        messages=spread,
        first_turns=(Turn(Speaker.USER, ("one", "two")), Turn(Speaker.MODEL, ("three",), 0)),
        dropped=1,
        dropped_sample=(DroppedExample(number=2, reason="too long"),),
    )
    job = replace(new_job("a"), request_details={"serviceAccount": "x"}, data_statistics=statistics)
    keep(database, job)

    assert found(database, job) == job


def test_jobs_that_wait_to_be_prepared_have_places_in_the_queue(database):
    keep(database, new_job("a"))
    keep(database, replace(new_job("b"), state=JobState.PREPARING))

    with database.read() as connection:
        assert tuning_jobs.count_queued(connection) == 2
        assert tuning_jobs.count_queued(connection, "ada@example.com") == 2
        assert tuning_jobs.count_queued(connection, "bob@example.com") == 0
        assert [job.id for job in tuning_jobs.queued_of_owners(connection, [ECHO], [ECHO])] == ["a-job"]


def test_an_unknown_job_is_not_found(database):
    assert found(database, new_job("a")) is None


def test_a_taken_id_is_told(database):
    keep(database, new_job("a"))
    with database.write() as connection:
        tuned_models.insert(connection, model("b"))
    with pytest.raises(IdTaken) as caught, database.write() as connection:
        tuning_jobs.insert(connection, replace(new_job("a"), model_id=model("b").id))
    assert caught.value.id == "a-job"


@pytest.mark.parametrize("source", list(JobState))
@pytest.mark.parametrize("target", list(JobState))
def test_a_state_changes_exactly_as_the_transition_table_says(database, source, target):
    begins = JobState.PREPARING if source is JobState.PREPARING else JobState.QUEUED
    job = keep(database, replace(new_job("a"), state=begins))
    bring(database, job, source)

    with database.write() as connection:
        moved = tuning_jobs.move(connection, job.id, target, NOW, error=error_for(target))

    assert moved is (target in TRANSITIONS[source])
    assert found(database, job).state is (target if moved else source)


@pytest.mark.parametrize("source", list(JobState))
@pytest.mark.parametrize("target", list(JobState))
def test_the_database_itself_refuses_an_event_outside_the_transition_table(database, source, target):
    job = keep(database, new_job("a"))
    event = {"job_id": job.id, "from_state": source, "to_state": target, "time": NOW, "reason": ""}
    if target in TRANSITIONS[source]:
        with database.write() as connection:
            connection.execute(job_events.insert(), event)
    else:
        with pytest.raises(IntegrityError), database.write() as connection:
            connection.execute(job_events.insert(), event)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'paused'",
        "state = 'succeeded', start_time = create_time",
        "state = 'failed', complete_time = create_time",
        "complete_time = create_time",
        "error_code = 1, error_message = 'x'",
        "state = 'failed', complete_time = create_time, error_code = 1",
        "state = 'running'",
        "attempts = -1",
        "example_count = 0",
    ],
)
def test_the_database_itself_refuses_a_job_in_an_impossible_state(database, change):
    keep(database, new_job("a"))
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text(f"UPDATE tuning_jobs SET {change}"))


def test_each_change_leaves_an_event_with_its_reason(database):
    job = keep(database, new_job("a"))
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        tuning_jobs.move(connection, job.id, JobState.QUEUED, NOW, reason="the server was restarted")
        tuning_jobs.move(connection, job.id, JobState.SUCCEEDED, NOW)
        events = connection.execute(select(job_events).order_by(job_events.c.id)).all()

    assert [(event.from_state, event.to_state, event.reason) for event in events] == [
        ("queued", "running", ""),
        ("running", "queued", "the server was restarted"),
    ]


def test_the_first_start_stays_the_start_when_a_job_is_taken_up_again(database):
    job = keep(database, new_job("a"))
    with database.write() as connection:
        for seconds, state in enumerate((JobState.RUNNING, JobState.QUEUED, JobState.RUNNING)):
            tuning_jobs.move(connection, job.id, state, NOW + timedelta(seconds=seconds))

    assert (found(database, job).start_time, found(database, job).attempts) == (NOW, 2)


def test_an_end_sets_the_time_and_the_error(database):
    job = keep(database, new_job("a"))
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.CANCELLED, NOW, error=CANCELLED)

    assert (found(database, job).complete_time, found(database, job).error) == (NOW, CANCELLED)


def test_of_many_threads_that_move_a_job_one_wins(database):
    job = keep(database, new_job("a"))
    barrier, wins = threading.Barrier(8), []

    def claim():
        barrier.wait()
        with database.write() as connection:
            if tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW):
                wins.append(threading.get_ident())

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(wins) == 1


def test_the_oldest_queued_job_comes_first(database):
    young = keep(database, new_job("a", create_time=NOW + timedelta(seconds=1)))
    old = keep(database, new_job("b", create_time=NOW))
    with database.write() as connection:
        assert tuning_jobs.queued_of_owners(connection, [ECHO]) == [
            QueuedJob(id=old.id, tenant=ADAS),
            QueuedJob(id=young.id, tenant=ADAS),
        ]
        tuning_jobs.move(connection, old.id, JobState.RUNNING, NOW)
        assert tuning_jobs.queued_of_owners(connection, [ECHO]) == [QueuedJob(id=young.id, tenant=ADAS)]


def test_a_queued_job_says_which_files_its_training_needs(database):
    keep(database, new_job("a"))
    validated = replace(new_job("b", create_time=NOW + timedelta(seconds=1)), validation_count=2)
    keep(database, validated)
    further = new_job("c", create_time=NOW + timedelta(seconds=2))
    with database.write() as connection:
        tuned_models.insert(connection, replace(model("c"), source=TunedModelId("a")))
        tuning_jobs.insert(connection, further)

        assert tuning_jobs.queued_of_owners(connection, [ECHO]) == [
            QueuedJob(id=JobId("a-job"), tenant=ADAS),
            QueuedJob(id=validated.id, tenant=ADAS, has_validation=True),
            QueuedJob(id=further.id, has_source=True),
        ]


def test_of_given_jobs_the_first_that_is_queued_is_found(database):
    jobs = [keep(database, new_job(name)) for name in "abc"]
    wanted = [jobs[place].id for place in (2, 0)]
    with database.write() as connection:
        assert tuning_jobs.first_queued(connection, wanted) == jobs[2]
        tuning_jobs.move(connection, jobs[2].id, JobState.RUNNING, NOW)
        assert tuning_jobs.first_queued(connection, wanted) == jobs[0]
        tuning_jobs.move(connection, jobs[0].id, JobState.RUNNING, NOW)
        assert tuning_jobs.first_queued(connection, wanted) is None


def test_a_job_over_another_base_is_passed_over(database):
    waiting = keep(database, new_job("a"))
    with database.write() as connection:
        assert tuning_jobs.queued_of_owners(connection, ["models/other"]) == []
        assert tuning_jobs.queued_without(connection, ["models/other"]) == [waiting]
        assert tuning_jobs.queued_without(connection, [ECHO]) == []
        tuning_jobs.move(connection, waiting.id, JobState.RUNNING, NOW)
        assert tuning_jobs.queued_without(connection, ["models/other"]) == []


def test_claiming_reads_the_index_of_waiting_jobs_only(database, database_url):
    if not database_url.startswith("sqlite"):
        pytest.skip("SQLite's plan")
    with database.read() as connection:
        query = "EXPLAIN QUERY PLAN SELECT * FROM tuning_jobs WHERE state = 'queued' ORDER BY create_time, id LIMIT 1"
        plan = " ".join(row.detail for row in connection.execute(text(query)))
    assert "ix_tuning_jobs_queue" in plan


def test_a_running_jobs_steps_are_appended_in_order(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    with database.write() as connection:
        answers = [snapshots.append_snapshot(connection, job.id, snapshot(step)) for step in (1, 2, 3)]

    assert answers == [False, False, False]
    assert found(database, job).snapshots == (snapshot(1), snapshot(2), snapshot(3))


def test_the_last_snapshot_says_how_far_a_job_is(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    assert (found(database, job).completed_steps, found(database, job).last_loss) == (0, None)

    with database.write() as connection:
        for step in (1, 2, 3):
            snapshots.append_snapshot(connection, job.id, snapshot(step))
    assert (found(database, job).completed_steps, found(database, job).last_loss) == (3, snapshot(3).mean_loss)

    with database.write() as connection:
        snapshots.drop_snapshots(connection, job.id, after_step=1)
    assert (found(database, job).completed_steps, found(database, job).last_loss) == (1, snapshot(1).mean_loss)

    with database.write() as connection:
        snapshots.add_missing_snapshots(connection, job.id, [snapshot(2)])
    assert (found(database, job).completed_steps, found(database, job).last_loss) == (2, snapshot(2).mean_loss)


def test_snapshots_are_read_from_a_step_on_and_not_with_their_job(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    with database.write() as connection:
        for step in (1, 2, 3):
            snapshots.append_snapshot(connection, job.id, snapshot(step))

        assert snapshots.snapshots_of(connection, job, after_step=1) == (snapshot(2), snapshot(3))
        assert snapshots.snapshots_of(connection, job, after_step=3) == ()
        assert tuning_jobs.find(connection, job.id).snapshots == ()


def test_a_step_is_answered_with_the_wish_to_cancel(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    with database.write() as connection:
        tuning_jobs.request_cancel(connection, job.id)
        assert snapshots.append_snapshot(connection, job.id, snapshot(1)) is True


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_does_not_run_takes_no_steps(database, state):
    job = keep(database, new_job("a"))
    bring(database, job, state)
    with database.write() as connection:
        assert snapshots.append_snapshot(connection, job.id, snapshot(1)) is None
    assert found(database, job).snapshots == ()


def test_progress_clears_the_attempts_and_repetition_does_not(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    with database.write() as connection:
        for step in (1, 2):
            snapshots.append_snapshot(connection, job.id, snapshot(step))
        cleared = tuning_jobs.find(connection, job.id).attempts
        tuning_jobs.move(connection, job.id, JobState.QUEUED, NOW)
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        snapshots.drop_snapshots(connection, job.id, after_step=0)
        attempts = []
        for step in (1, 2, 3):
            snapshots.append_snapshot(connection, job.id, snapshot(step))
            attempts.append(tuning_jobs.find(connection, job.id).attempts)

    assert (cleared, attempts) == (0, [1, 1, 0])


def test_snapshots_that_were_lost_are_filled_in_and_others_stay(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    ours = replace(snapshot(1), mean_loss=9.0)
    with database.write() as connection:
        snapshots.append_snapshot(connection, job.id, ours)
        snapshots.add_missing_snapshots(connection, job.id, [snapshot(1), snapshot(2)])

    assert found(database, job).snapshots == (ours, snapshot(2))


def test_the_wish_to_cancel_does_not_touch_a_job_that_has_ended(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.SUCCEEDED)
    with database.write() as connection:
        tuning_jobs.request_cancel(connection, job.id)
    assert found(database, job).cancel_requested is False


def test_wanted_jobs_are_those_that_exist_and_were_not_cancelled(database):
    wanted, cancelled, gone = new_job("a"), new_job("b"), new_job("c")
    keep(database, wanted)
    keep(database, cancelled)
    with database.write() as connection:
        tuning_jobs.request_cancel(connection, cancelled.id)
        assert tuning_jobs.wanted_ids(connection, [wanted.id, cancelled.id, gone.id]) == {wanted.id}


def test_jobs_are_counted_by_state(database):
    for name in ("a", "b", "c"):
        keep(database, new_job(name))
    bring(database, new_job("a"), JobState.SUCCEEDED)
    with database.read() as connection:
        counts = tuning_jobs.count_by_state(connection)
        waiting = tuning_jobs.count_queued(connection)
    assert counts == {
        JobState.PREPARING: 0,
        JobState.QUEUED: 2,
        JobState.RUNNING: 0,
        JobState.SUCCEEDED: 1,
        JobState.FAILED: 0,
        JobState.CANCELLED: 0,
    }
    assert waiting == 2


def test_times_keep_their_microseconds_and_their_zone(database):
    odd = datetime(2024, 3, 14, 15, 9, 4, 511_322, tzinfo=UTC)
    job = keep(database, new_job("a", create_time=odd))
    assert found(database, job).create_time == odd
    assert found(database, job).create_time.tzinfo is UTC


def test_a_deleted_model_takes_its_job_its_steps_and_its_events_along(database):
    job = keep(database, new_job("a"))
    bring(database, job, JobState.RUNNING)
    with database.write() as connection:
        snapshots.append_snapshot(connection, job.id, snapshot(1))
        tuned_models.delete(connection, job.model_id)
        left = [
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("tuned_models", "tuning_jobs", "snapshots", "job_events", "permissions")
        ]
    assert left == [0, 0, 0, 0, 0]
    assert JobId("a-job") == job.id
