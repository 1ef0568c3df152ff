"""The dispatcher, over the executor in memory and a real database."""

import asyncio
import itertools
import logging
import threading
import time
from dataclasses import replace
from random import getrandbits

import pytest

from fakes import ECHO_BASE, ECHO_CATALOG, InMemoryExecutor
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.base_model import BaseModelName, Catalog
from tuningfork.domain.errors import Busy, Code, NotFound, ResourceExhausted
from tuningfork.domain.job_stage import Beginning
from tuningfork.domain.references import TunedRef
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState
from tuningfork.service.tuning.running import MAX_ATTEMPTS, Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store.artifacts import Artifacts
from workshop import ADA, SERVER, ask, number_request


def create(workshop, **changes):
    return workshop.tuning.create(ADA, number_request(**changes))


def patient_dispatcher(workshop):
    """One that waits when it closes until its jobs have paused, however long their steps take."""
    executor = workshop.executor
    return Dispatcher(
        workshop.running, executor, executor, workshop.metrics, concurrency=2, grace_seconds=PATIENCE_SECONDS
    )


def deaths(workshop):
    return workshop.metrics.registry.get_sample_value("tuningfork_worker_deaths_total", {"role": "trainer"})


def test_a_waiting_job_is_trained_to_its_end(workshop):
    tuned = create(workshop)
    workshop.dispatcher.start()
    done = workshop.wait_until(JobState.SUCCEEDED, tuned)

    assert (done.model.state, done.job.completed_steps) == (ModelState.ACTIVE, 19)


def test_what_changes_is_noticed_at_once_not_at_the_next_look(workshop, database, artifacts, clock, executor):
    slow = Dispatcher(workshop.running, executor, executor, workshop.metrics, concurrency=1, poll_seconds=60)
    tuning = Tuning(database, artifacts, ECHO_CATALOG, clock, getrandbits, workshop.metrics, wake=slow.wake)
    gate = executor.hold_before(3)
    slow.start()
    first, second = (tuning.create(ADA, number_request()) for _ in range(2))
    gate.wait_until_reached()
    tuning.cancel(ADA, first.model.id)
    wait_until(lambda: first.job.id in executor.stop_calls)
    gate.open()

    workshop.wait_until(JobState.CANCELLED, first)
    workshop.wait_until(JobState.SUCCEEDED, second)
    slow.close()


def test_the_generator_is_warmed_while_the_job_trains(workshop):
    gate = workshop.executor.hold_before(1)
    create(workshop)
    workshop.dispatcher.start()
    gate.wait_until_reached()
    assert workshop.executor.warmed == ["models/echo-001"]
    gate.open()


def test_the_model_answers_when_its_job_has_ended(workshop):
    workshop.dispatcher.start()
    tuned = create(workshop)
    workshop.wait_until(JobState.SUCCEEDED, tuned)

    async def answer():
        chunks = (await workshop.generation.generate(ADA, TunedRef(tuned.model.id), ask("ninety nine"))).chunks
        return "".join([chunk.text async for chunk in chunks])

    assert asyncio.run(answer()) == "one hundred"


def test_as_many_jobs_run_at_a_time_as_are_allowed(workshop):
    gates = [workshop.executor.hold_before(1) for _ in range(2)]
    jobs = [create(workshop) for _ in range(3)]
    workshop.dispatcher.start()
    for gate in gates:
        gate.wait_until_reached()
    time.sleep(0.2)
    states = [workshop.job(tuned).state for tuned in jobs]
    for gate in gates:
        gate.open()

    assert states == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
    workshop.wait_until(JobState.SUCCEEDED, jobs[2])


def test_a_cancelled_job_stops_between_steps(workshop):
    gate = workshop.executor.hold_before(5)
    tuned = create(workshop)
    workshop.dispatcher.start()
    gate.wait_until_reached()
    workshop.tuning.cancel(ADA, tuned.model.id)
    wait_until(lambda: tuned.job.id in workshop.executor.stop_calls)
    gate.open()

    ended = workshop.wait_until(JobState.CANCELLED, tuned)
    assert ended.model.state is ModelState.ACTIVE
    assert ended.job.completed_steps == 5


def test_a_deleted_job_stops_and_leaves_nothing(workshop, artifacts):
    gate = workshop.executor.hold_before(5)
    tuned = create(workshop)
    workshop.dispatcher.start()
    gate.wait_until_reached()
    workshop.tuning.delete(ADA, tuned.model.id)
    wait_until(lambda: tuned.job.id in workshop.executor.stop_calls)
    gate.open()

    wait_until(lambda: artifacts.job_ids() == set())
    with pytest.raises(NotFound):
        workshop.tuning.get(ADA, tuned.model.id)


def test_a_job_that_cannot_go_on_fails_with_the_trainers_words(workshop):
    workshop.executor.fail_before(3, "The loss is not finite.")
    tuned = create(workshop)
    workshop.dispatcher.start()
    failed = workshop.wait_until(JobState.FAILED, tuned)

    assert (failed.model.state, failed.job.error.message) == (ModelState.FAILED, "The loss is not finite.")
    assert workshop.dispatcher.healthy() is None


def test_the_path_of_what_cannot_be_used_is_in_the_log_and_not_in_the_error_of_its_job(workshop, caplog):
    workshop.executor.fail_before(1, "base model models/x: there is no directory /srv/models/x; check its location")
    tuned = create(workshop)
    workshop.dispatcher.start()
    failed = workshop.wait_until(JobState.FAILED, tuned)

    told = "base model models/x: there is no directory x; check its location"
    assert failed.job.error.message == told
    [logged] = [record for record in caplog.records if getattr(record, "action", "") == "job_refused"]
    assert "there is no directory /srv/models/x; check" in logged.getMessage()


def test_a_trainer_that_dies_is_replaced_and_its_job_resumes_from_the_savepoint(workshop):
    workshop.executor.die_before(8)
    tuned = create(workshop)
    workshop.dispatcher.start()
    done = workshop.wait_until(JobState.SUCCEEDED, tuned)

    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))
    assert len(workshop.executor.assignments) == 2
    assert deaths(workshop) == 1


def test_events_that_end_before_the_job_does_are_a_lost_trainer(workshop, clock):
    class Truncating(InMemoryExecutor):
        """Its first stream ends without a last event."""

        def train(self, assignment):
            events = super().train(assignment)
            return itertools.islice(events, 4) if not self.assignments else events

    trainers = Truncating(clock)
    trainers.artifacts = workshop.artifacts.store
    dispatcher = Dispatcher(workshop.running, trainers, workshop.executor, workshop.metrics, concurrency=1)
    tuned = create(workshop)
    dispatcher.start()
    workshop.wait_until(JobState.SUCCEEDED, tuned)
    dispatcher.close()

    assert deaths(workshop) == 1


def test_a_job_that_kills_its_trainer_three_times_fails_and_others_go_on(workshop):
    bad, good = create(workshop), create(workshop)
    workshop.executor.die_before(1, times=99, job_id=bad.job.id)
    workshop.dispatcher.start()

    failed = workshop.wait_until(JobState.FAILED, bad)
    assert "ended unexpectedly 3 times in a row while it was training this job alone" in failed.job.error.message
    assert deaths(workshop) == 3
    workshop.wait_until(JobState.SUCCEEDED, good)


def test_a_fault_of_one_job_is_logged_and_does_not_touch_others(workshop, caplog):
    workshop.executor.raise_before(2, ZeroDivisionError("a bug"))
    jobs = [create(workshop), create(workshop)]
    workshop.dispatcher.start()
    for tuned in jobs:
        workshop.wait_until(JobState.SUCCEEDED, tuned)

    (fault,) = [record for record in caplog.records if getattr(record, "action", "") == "job_fault"]
    assert fault.exc_info[0] is ZeroDivisionError
    assert fault.job in {tuned.job.id for tuned in jobs}


def test_every_line_of_the_log_has_its_action_and_its_job(workshop, caplog):
    caplog.set_level(logging.INFO, logger="tuningfork")
    workshop.executor.die_before(2)
    tuned = create(workshop)
    workshop.dispatcher.start()
    workshop.wait_until(JobState.SUCCEEDED, tuned)
    wait_until(lambda: "job_succeeded" in [getattr(record, "action", "") for record in caplog.records])

    lines = [(record.action, record.job) for record in caplog.records if record.name.startswith("tuningfork")]
    assert lines == [
        (action, tuned.job.id) for action in ("job_claimed", "worker_died", "job_claimed", "job_succeeded")
    ]


def test_a_disk_that_is_away_for_a_while_stops_nothing_for_good(workshop, tmp_path, caplog):
    work = tmp_path / "artifacts/work"
    workshop.dispatcher.start()
    work.rmdir()
    tuned = create(workshop)
    wait_until(lambda: any(getattr(record, "action", "") == "dispatch_failed" for record in caplog.records))
    work.mkdir()

    workshop.wait_until(JobState.SUCCEEDED, tuned)


def test_a_full_disk_is_never_held_against_a_job(workshop, caplog):
    workshop.executor.raise_before(3, ResourceExhausted("The server's disk is full."), times=MAX_ATTEMPTS + 1)
    tuned = create(workshop)
    workshop.dispatcher.start()
    done = workshop.wait_until(JobState.SUCCEEDED, tuned)

    told = [record for record in caplog.records if getattr(record, "action", "") == "disk_full"]
    assert [record.getMessage() for record in told] == [
        f"job {tuned.job.id} could not be recorded: The server's disk is full."
    ] * (MAX_ATTEMPTS + 1)
    assert all(record.exc_info is None for record in told)
    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))


@pytest.mark.parametrize(
    "error", [Busy("The database is busy.", retry_seconds=1), ResourceExhausted("The disk is full."), KeyError()]
)
def test_a_job_whose_step_could_not_be_recorded_leaves_its_trainer_before_it_is_taken_up_again(workshop, error):
    class Forgetful(Running):
        """Records the third step only at the second attempt."""

        refused = False

        def record(self, job_id, snapshot, tokens):
            if snapshot.step == 3 and not self.refused:
                self.refused = True
                raise error
            return super().record(job_id, snapshot, tokens)

    executor = workshop.executor
    running = Forgetful(
        *(workshop.database, workshop.artifacts, ECHO_CATALOG, workshop.clock, workshop.metrics),
        server=SERVER,
        savepoint_every=100,
    )
    dispatcher = Dispatcher(running, executor, executor, workshop.metrics, concurrency=1, poll_seconds=0.02)
    tuned = create(workshop)
    dispatcher.start()
    done = workshop.wait_until(JobState.SUCCEEDED, tuned)
    paused = [*executor.pause_calls]
    dispatcher.close()

    # The savepoint that the pause wrote contains the step, which was therefore not trained again.
    assert paused == [tuned.job.id]
    assert len(executor.assignments) == 2
    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))
    assert workshop.metrics.registry.get_sample_value("tuningfork_tuning_steps_total") == 18


def test_an_owner_is_told_of_the_servers_faults_without_their_details(workshop, caplog):
    class Broken(Running):
        """Records no step at all."""

        def record(self, job_id, snapshot, tokens):
            raise KeyError("/srv/secret")

    running = Broken(
        *(workshop.database, workshop.artifacts, ECHO_CATALOG, workshop.clock, workshop.metrics),
        server=SERVER,
        savepoint_every=100,
    )
    executor = workshop.executor
    dispatcher = Dispatcher(
        running, executor, executor, workshop.metrics, concurrency=1, poll_seconds=0.02, pause_seconds=0.01
    )
    tuned = create(workshop)
    dispatcher.start()
    failed = workshop.wait_until(JobState.FAILED, tuned)
    dispatcher.close()

    assert "the server met a fault of its own, which its log describes" in failed.job.error.message
    assert "KeyError" not in failed.job.error.message
    assert "secret" not in failed.job.error.message
    [*faults] = [record for record in caplog.records if getattr(record, "action", "") == "job_fault"]
    assert len(faults) == MAX_ATTEMPTS
    assert all(record.exc_info[0] is KeyError for record in faults)


def test_a_trainer_without_room_for_an_adapter_is_asked_again(workshop):
    for _ in range(MAX_ATTEMPTS + 1):
        workshop.executor.fail_before(19, "no room", code=Code.RESOURCE_EXHAUSTED)
    tuned = create(workshop)
    workshop.dispatcher.start()
    done = workshop.wait_until(JobState.SUCCEEDED, tuned)

    assert len(workshop.executor.assignments) == MAX_ATTEMPTS + 2
    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))


def test_a_disk_that_is_full_when_a_job_is_taken_up_is_told_in_a_line(workshop, executor, tmp_path, caplog):
    class FullArtifacts(Artifacts):
        """Without room until somebody makes some."""

        room = False

        def prepare_work(self, job_id):
            if not self.room:
                raise ResourceExhausted("The server's disk is full.")
            return super().prepare_work(job_id)

    artifacts = FullArtifacts(tmp_path / "artifacts")
    running = Running(
        workshop.database, artifacts, ECHO_CATALOG, workshop.clock, workshop.metrics, server=SERVER, savepoint_every=2
    )
    dispatcher = Dispatcher(running, executor, executor, workshop.metrics, concurrency=1, poll_seconds=0.02)
    tuned = create(workshop)
    dispatcher.start()
    wait_until(lambda: any(getattr(record, "action", "") == "disk_full" for record in caplog.records))
    waiting = workshop.job(tuned)
    artifacts.room = True
    workshop.wait_until(JobState.SUCCEEDED, tuned)
    dispatcher.close()

    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0)
    [line] = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert line == "the dispatcher waits: The server's disk is full."


def test_after_losses_in_a_row_jobs_wait_before_they_are_taken_up_again(workshop, executor):
    patient = Dispatcher(workshop.running, executor, executor, workshop.metrics, concurrency=1, pause_seconds=30)
    tuned = create(workshop)
    executor.die_before(1, times=2)
    patient.start()
    wait_until(lambda: len(executor.assignments) == 2)
    time.sleep(0.2)
    taken_up = len(executor.assignments)
    patient.close()

    assert (taken_up, workshop.job(tuned).state) == (2, JobState.QUEUED)


def test_a_job_that_the_trainer_cannot_take_up_leaves_its_place_to_another(workshop, executor):
    dispatcher = Dispatcher(workshop.running, executor, executor, workshop.metrics, concurrency=1, poll_seconds=0.02)
    gate = executor.hold_before(1)
    large, small, last = (create(workshop) for _ in range(3))
    dispatcher.start()
    gate.wait_until_reached()
    executor.not_taken_up[large.job.id] = Beginning(held_up_by="memory is short")
    done = [workshop.wait_until(JobState.SUCCEEDED, each) for each in (small, last)]
    waiting = workshop.job(large)
    del executor.not_taken_up[large.job.id]
    gate.open()
    workshop.wait_until(JobState.SUCCEEDED, large)
    dispatcher.close()

    assert [each.job.completed_steps for each in done] == [19, 19]
    assert (waiting.state, waiting.completed_steps) == (JobState.RUNNING, 0)


class TestStart:
    def test_what_was_running_when_the_server_died_resumes(self, workshop, artifacts, clock):
        tuned = create(workshop)
        workshop.advance(steps=5)
        workshop.dispatcher.start()

        done = workshop.wait_until(JobState.SUCCEEDED, tuned)
        assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))

    @pytest.mark.parametrize(
        ("base", "why"),
        [
            (
                replace(ECHO_BASE, name=BaseModelName("models/other"), aliases=()),
                "which this server does not have: start it with that base model again",
            ),
            (
                replace(ECHO_BASE, fault="config.json is no JSON object. Mend the file"),
                "which this server cannot use: config.json is no JSON object. Mend the file",
            ),
        ],
        ids=["away", "faulty"],
    )
    def test_jobs_whose_base_cannot_be_used_wait_and_are_named(self, workshop, executor, caplog, base, why):
        tuned = create(workshop, tuned_model_id="abc")
        other = Catalog((base,))
        parts = (workshop.database, workshop.artifacts, other, workshop.clock, workshop.metrics)
        dispatcher = Dispatcher(
            Running(*parts, server=SERVER, savepoint_every=0),
            executor,
            executor,
            workshop.metrics,
            concurrency=1,
            poll_seconds=0.01,
        )
        dispatcher.start()
        wait_until(lambda: "base_missing" in [getattr(record, "action", "") for record in caplog.records])
        # It looks again and again, but says it once.
        time.sleep(0.1)
        healthy = dispatcher.healthy()
        dispatcher.close()

        [line] = [record for record in caplog.records if getattr(record, "action", "") == "base_missing"]
        assert line.getMessage() == (
            f"job {tuned.job.id} waits for models/gemini-1.0-pro-001 (models/echo-001), {why}, or cancel or delete "
            "tunedModels/abc"
        )
        assert (line.levelno, healthy) == (logging.WARNING, None)
        assert workshop.tuning.get(ADA, tuned.model.id) == tuned

    def test_files_that_no_job_knows_are_set_aside(self, workshop, artifacts):
        tuned = create(workshop)
        artifacts.write_dataset("orphan", ())
        workshop.dispatcher.start()
        assert artifacts.job_ids() == {tuned.job.id}
        assert [path.name for path in artifacts.store.root.glob("set-aside/*/datasets/*")] == ["orphan.jsonl"]


class TestHealth:
    def test_a_dispatcher_is_healthy_between_start_and_close(self, workshop):
        before = workshop.dispatcher.healthy()
        workshop.dispatcher.start()
        between = workshop.dispatcher.healthy()
        workshop.dispatcher.close()
        assert (before, between, workshop.dispatcher.healthy()) == (
            "the dispatcher is not running",
            None,
            "the dispatcher is not running",
        )

    def test_trainers_that_keep_dying_are_told_until_what_killed_them_is_gone(self, workshop, executor):
        # Noted by the deciding thread itself: whoever looks from time to time may look too late.
        noted = []
        dispatcher = Dispatcher(
            *(workshop.running, executor, executor, workshop.metrics),
            concurrency=1,
            pause_seconds=1.0,
            after_each_round=lambda: noted.append(dispatcher.healthy()),
        )
        tuned = create(workshop)
        executor.die_before(1, times=99)
        dispatcher.start()
        workshop.wait_until(JobState.FAILED, tuned)
        wait_until(lambda: any(noted))
        wait_until(lambda: dispatcher.healthy() is None)
        said = {*noted}
        dispatcher.close()

        assert said == {None, "running jobs were lost 3 times in a row; the log says why"}

    def test_a_disk_without_room_is_told_until_there_is_some(self, workshop, tmp_path):
        workshop.dispatcher.start()
        (tmp_path / "artifacts" / ".probe").symlink_to("/dev/full")
        said = [workshop.dispatcher.healthy() for _ in range(2)]

        assert said[0].startswith("The server's disk is full")
        assert said[1] is None

    def test_jobs_that_are_lost_together_are_one_loss(self, workshop, executor):
        dispatcher = Dispatcher(workshop.running, executor, executor, workshop.metrics, concurrency=4, pause_seconds=30)
        gates = [executor.hold_before(1) for _ in range(4)]
        jobs = [create(workshop) for _ in gates]
        executor.kill_before(2, job_id=jobs[0].job.id, times=1)
        later = [executor.hold_before(2, job_id=tuned.job.id) for tuned in jobs[1:]]
        dispatcher.start()
        for gate in gates:
            gate.wait_until_reached()
        for gate in gates:
            gate.open()
        wait_until(lambda: deaths(workshop) == 4)
        for gate in later:
            gate.open()
        for tuned in jobs:
            workshop.wait_until(JobState.SUCCEEDED, tuned)
        dispatcher.close()

        assert deaths(workshop) == 4


class TestClose:
    def test_a_running_job_is_given_back_and_the_next_server_finishes_it(self, workshop, clock):
        gate = workshop.executor.hold_before(5)
        tuned = create(workshop)
        dispatcher = patient_dispatcher(workshop)
        dispatcher.start()
        gate.wait_until_reached()
        closing = threading.Thread(target=dispatcher.close)
        closing.start()
        gate.open()
        closing.join(PATIENCE_SECONDS)
        given_back = workshop.job(tuned)

        executor = InMemoryExecutor(clock)
        executor.artifacts = workshop.artifacts.store
        successor = Dispatcher(workshop.running, executor, executor, workshop.metrics, concurrency=1, poll_seconds=0.05)
        successor.start()
        done = workshop.wait_until(JobState.SUCCEEDED, tuned)
        successor.close()

        assert (given_back.state, given_back.attempts) == (JobState.QUEUED, 0)
        assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))

    def test_a_step_that_outlasts_the_grace_is_ended_with_its_worker(self, workshop):
        gate = workshop.executor.hold_before(1)
        tuned = create(workshop)
        workshop.dispatcher.start()
        gate.wait_until_reached()
        closing = threading.Thread(target=workshop.dispatcher.close)
        closing.start()
        closing.join(PATIENCE_SECONDS)

        assert not closing.is_alive()
        assert workshop.executor.closed.is_set()
        assert (workshop.job(tuned).state, workshop.job(tuned).attempts) == (JobState.QUEUED, 0)

    def test_a_trainer_that_did_not_know_the_job_yet_is_asked_again(self, workshop, clock):
        class StillLoading(InMemoryExecutor):
            """Forgets the first wish to pause, as one does that has not begun with the job."""

            def pause(self, job_id):
                if job_id in self.pause_calls:
                    super().pause(job_id)
                self.pause_calls.append(job_id)

        executor = StillLoading(clock)
        executor.artifacts = workshop.artifacts.store
        gate = executor.hold_before(5)
        tuned = create(workshop)
        dispatcher = Dispatcher(
            workshop.running, executor, executor, workshop.metrics, concurrency=1, grace_seconds=300
        )
        dispatcher.start()
        gate.wait_until_reached()
        closing = threading.Thread(target=dispatcher.close)
        closing.start()
        wait_until(lambda: executor.pause_calls)
        gate.open()
        closing.join(PATIENCE_SECONDS)

        assert not executor.closed.is_set()
        assert workshop.job(tuned).state is JobState.QUEUED

    def test_no_thread_is_left(self, workshop):
        before = set(threading.enumerate())
        create(workshop)
        dispatcher = patient_dispatcher(workshop)
        dispatcher.start()
        wait_until(lambda: workshop.executor.assignments)
        dispatcher.close()
        assert set(threading.enumerate()) <= before

    def test_closing_twice_or_unstarted_is_harmless(self, workshop):
        workshop.dispatcher.close()
        workshop.dispatcher.close()
        assert workshop.dispatcher.healthy() is not None
