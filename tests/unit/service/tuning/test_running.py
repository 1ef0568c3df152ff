"""The dispatcher's side of a job."""

import random
import shutil
import threading
from dataclasses import replace

import pytest

from fakes import ECHO_BASE, InMemoryExecutor
from tuningfork.domain.base_model import BaseModelName, Catalog
from tuningfork.domain.errors import Code
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobId, JobState, Snapshot
from tuningfork.execution.base import Finished, Resumed, Stepped, WorkerDied
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.service.tuning.running import MAX_ATTEMPTS, Running, StepReply
from tuningfork.service.tuning.tuning import Tuning
from workshop import ADA, NUMBER_PAIRS, SERVER, number_request


@pytest.fixture
def running(workshop):
    return workshop.running


@pytest.fixture
def tuned(workshop):
    return workshop.tuning.create(ADA, number_request())


def running_over(workshop, *bases):
    """The same house after a restart with other base models."""
    parts = (workshop.database, workshop.artifacts, Catalog(bases), workshop.clock, workshop.metrics)
    return Running(*parts, server=SERVER, savepoint_every=0)


def snapshot(workshop, step):
    return Snapshot(step=step, epoch=step * 4 // 15, mean_loss=1.0 / step, compute_time=workshop.clock())


def record(workshop, tuned, *steps):
    return [workshop.running.record(tuned.job.id, snapshot(workshop, step), tokens=12) for step in steps]


def steps(workshop, tuned):
    return [taken.step for taken in workshop.job(tuned).snapshots]


def adapter(workshop, tuned, content="weights"):
    ref = workshop.artifacts.work(tuned.job.id).below("adapter")
    with workshop.artifacts.store.writing(ref) as directory:
        directory.mkdir()
        (directory / "adapter_model.safetensors").write_text(content)
    return ref


@pytest.mark.parametrize("end", ["finish", "fail", "give_back", "stopped"])
def test_nothing_is_remembered_of_the_speed_of_a_job_that_its_trainer_has_left(workshop, running, tuned, end):
    running.claim()
    record(workshop, tuned, 1, 2, 3)
    assert running.speeds.seconds_left(tuned.job.id, 10) is not None
    match end:
        case "finish":
            running.finish(tuned.job.id, adapter(workshop, tuned))
        case "fail":
            running.fail(tuned.job.id, Code.INTERNAL, "")
        case "give_back":
            running.give_back(tuned.job.id, died=False)
        case _:
            workshop.tuning.cancel(ADA, tuned.model.id)
            running.stopped(tuned.job.id, None)

    assert running.speeds.seconds_left(tuned.job.id, 10) is None


class TestClaim:
    def test_gives_a_trainer_all_it_needs(self, workshop, running, tuned):
        assignment = running.claim()
        assert tuple(DatasetFile(workshop.artifacts.store.path(assignment.dataset))) == NUMBER_PAIRS
        assert workshop.artifacts.store.path(assignment.work).is_dir()
        assert (assignment.job_id, assignment.base, assignment.seed) == (tuned.job.id, ECHO_BASE, tuned.job.seed)
        assert (assignment.hyperparameters, assignment.adapter) == (tuned.job.hyperparameters, ECHO_BASE.adapter)
        assert assignment.savepoint_every == 2

    def test_starts_the_clock_of_the_job(self, workshop, running, tuned):
        running.claim()
        job = workshop.job(tuned)
        assert (job.state, job.attempts) == (JobState.RUNNING, 1)
        assert job.start_time > job.create_time

    def test_takes_the_oldest_job(self, workshop, running):
        made = [workshop.tuning.create(ADA, number_request()).job.id for _ in range(3)]
        assert [running.claim().job_id for _ in range(3)] == made
        assert running.claim() is None

    def test_of_many_threads_each_job_goes_to_one(self, workshop, running):
        made = {workshop.tuning.create(ADA, number_request()).job.id for _ in range(12)}
        barrier, taken = threading.Barrier(6), []

        def claim_all():
            barrier.wait()
            while (assignment := running.claim()) is not None:
                taken.append(assignment.job_id)

        threads = [threading.Thread(target=claim_all) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(taken) == sorted(made)

    def test_a_job_whose_base_has_left_waits_for_it_and_the_next_is_taken(self, workshop, running, tuned):
        other = replace(ECHO_BASE, name=BaseModelName("models/other"), aliases=())
        without = running_over(workshop, other)
        after = Tuning(
            workshop.database,
            workshop.artifacts,
            Catalog((other,)),
            workshop.clock,
            random.Random(1).getrandbits,
            workshop.metrics,
        ).create(ADA, number_request(base_model="models/other"))

        assert without.claim().job_id == after.job.id
        assert without.claim() is None
        assert [job.id for job in without.turns.stranded()] == [tuned.job.id]
        assert workshop.tuning.get(ADA, tuned.model.id) == tuned
        # The base is back.
        assert running.turns.stranded() == []
        assert running.claim().job_id == tuned.job.id

    def test_a_job_whose_base_cannot_be_read_waits_with_its_steps_until_it_is_mended(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, 1, 2)
        again = running_over(workshop, replace(ECHO_BASE, fault="config.json is no JSON object"))

        assert again.requeue_interrupted() == [tuned.job.id]
        assert again.claim() is None
        assert [job.id for job in again.turns.stranded()] == [tuned.job.id]
        assert workshop.job(tuned).state is JobState.QUEUED
        assert steps(workshop, tuned) == [1, 2]
        # The base is mended.
        assert running_over(workshop, ECHO_BASE).claim().job_id == tuned.job.id

    def test_a_job_whose_base_has_left_can_be_cancelled_and_deleted(self, workshop, tuned):
        without = running_over(workshop, replace(ECHO_BASE, name=BaseModelName("models/other"), aliases=()))
        workshop.tuning.cancel(ADA, tuned.model.id)
        cancelled = workshop.job(tuned)
        workshop.tuning.delete(ADA, tuned.model.id)

        assert cancelled.state is JobState.CANCELLED
        assert without.turns.stranded() == []
        assert workshop.artifacts.job_ids() == set()

    def test_a_disk_that_takes_no_directory_leaves_the_job_waiting(self, workshop, running, tuned, tmp_path):
        shutil.rmtree(tmp_path / "artifacts/work")
        with pytest.raises(FileNotFoundError):
            running.claim()
        assert workshop.job(tuned) == tuned.job


class TestRecord:
    def test_keeps_steps_and_says_go_on(self, workshop, running, tuned):
        running.claim()
        assert record(workshop, tuned, 1, 2) == [StepReply.CONTINUE, StepReply.CONTINUE]
        assert steps(workshop, tuned) == [1, 2]

    def test_says_stop_once_somebody_cancelled(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.cancel(ADA, tuned.model.id)
        assert record(workshop, tuned, 1) == [StepReply.STOP]
        assert steps(workshop, tuned) == [1]

    def test_says_stop_once_somebody_deleted(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.delete(ADA, tuned.model.id)
        assert record(workshop, tuned, 1) == [StepReply.STOP]

    def test_steps_of_a_job_that_was_given_back_are_not_kept(self, workshop, running, tuned):
        running.claim()
        running.give_back(tuned.job.id, died=True)
        assert record(workshop, tuned, 1) == [StepReply.STOP]
        assert steps(workshop, tuned) == []


class TestResumed:
    def test_later_steps_come_again(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, 1, 2, 3)
        assert running.resumed(tuned.job.id, 1) is StepReply.CONTINUE
        record(workshop, tuned, 2, 3)
        assert steps(workshop, tuned) == [1, 2, 3]

    def test_steps_that_a_dying_server_lost_are_filled_in_from_the_savepoint(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, 1)
        remembered = [snapshot(workshop, step) for step in (1, 2)]
        running.resumed(tuned.job.id, 2, remembered)
        record(workshop, tuned, 3)
        assert steps(workshop, tuned) == [1, 2, 3]

    def test_a_cancelled_job_stops_before_it_goes_on(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, 1)
        workshop.tuning.cancel(ADA, tuned.model.id)
        assert running.resumed(tuned.job.id, 0) is StepReply.STOP

    def test_a_deleted_job_stops(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.delete(ADA, tuned.model.id)
        assert running.resumed(tuned.job.id, 0) is StepReply.STOP


class TestFinish:
    def test_the_adapter_is_in_place_before_the_model_is_active(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, *range(1, 20))
        running.finish(tuned.job.id, adapter(workshop, tuned))

        done = workshop.tuning.get(ADA, tuned.model.id)
        assert (done.model.state, done.job.state) == (ModelState.ACTIVE, JobState.SUCCEEDED)
        assert done.job.complete_time == done.model.update_time
        assert (workshop.tuning.adapter_directory(ADA, tuned.model.id) / "adapter_model.safetensors").is_file()
        assert not workshop.artifacts.work_directory(tuned.job.id).exists()

    def test_may_be_repeated_after_a_crash_between_the_files_and_the_row(self, workshop, running, tuned):
        running.claim()
        workshop.artifacts.install_adapter(tuned.job.id, adapter(workshop, tuned, "before the crash"))
        running.requeue_interrupted()
        running.claim()
        running.finish(tuned.job.id, adapter(workshop, tuned, "after the crash"))

        directory = workshop.tuning.adapter_directory(ADA, tuned.model.id)
        assert (directory / "adapter_model.safetensors").read_text() == "after the crash"

    def test_a_second_finish_never_touches_an_adapter_in_use(self, workshop, running, tuned):
        running.claim()
        running.finish(tuned.job.id, adapter(workshop, tuned, "first"))
        workshop.artifacts.prepare_work(tuned.job.id)
        running.finish(tuned.job.id, adapter(workshop, tuned, "second"))

        directory = workshop.tuning.adapter_directory(ADA, tuned.model.id)
        assert (directory / "adapter_model.safetensors").read_text() == "first"

    def test_of_a_deleted_job_nothing_is_left(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.delete(ADA, tuned.model.id)
        running.finish(tuned.job.id, adapter(workshop, tuned))
        assert workshop.artifacts.job_ids() == set()


class TestFail:
    def test_the_owner_is_told_why(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, 1)
        running.fail(tuned.job.id, Code.INTERNAL, "The loss is not finite.")

        failed = workshop.tuning.get(ADA, tuned.model.id)
        assert (failed.model.state, failed.job.state) == (ModelState.FAILED, JobState.FAILED)
        assert (failed.job.error.code, failed.job.error.message) == (Code.INTERNAL, "The loss is not finite.")
        assert not workshop.artifacts.work_directory(tuned.job.id).exists()

    def test_an_adapter_that_a_crash_left_goes_with_the_job(self, workshop, running, tuned):
        running.claim()
        workshop.artifacts.install_adapter(tuned.job.id, adapter(workshop, tuned))
        running.fail(tuned.job.id, Code.INTERNAL, "The loss is not finite.")
        assert not workshop.artifacts.adapter_directory(tuned.job.id).exists()

    def test_a_job_that_has_ended_does_not_fail_afterwards(self, workshop, running, tuned):
        running.claim()
        running.finish(tuned.job.id, adapter(workshop, tuned))
        running.fail(tuned.job.id, Code.INTERNAL, "too late")
        assert workshop.job(tuned).state is JobState.SUCCEEDED

    def test_a_waiting_job_does_not_fail_by_an_old_trainers_word(self, workshop, running, tuned):
        running.claim()
        running.give_back(tuned.job.id, died=True)
        running.fail(tuned.job.id, Code.INTERNAL, "too late")
        assert workshop.job(tuned).state is JobState.QUEUED


class TestStopped:
    def test_a_cancelled_job_without_steps_leaves_a_failed_model(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.cancel(ADA, tuned.model.id)
        running.stopped(tuned.job.id, None)

        ended = workshop.tuning.get(ADA, tuned.model.id)
        assert (ended.model.state, ended.job.state, ended.job.error.code) == (
            ModelState.FAILED,
            JobState.CANCELLED,
            Code.CANCELLED,
        )

    def test_a_cancelled_job_with_steps_leaves_a_model_that_can_be_called(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.cancel(ADA, tuned.model.id)
        record(workshop, tuned, 1)
        running.stopped(tuned.job.id, adapter(workshop, tuned))

        ended = workshop.tuning.get(ADA, tuned.model.id)
        assert (ended.model.state, ended.job.state) == (ModelState.ACTIVE, JobState.CANCELLED)
        assert workshop.tuning.adapter_directory(ADA, tuned.model.id).is_dir()

    def test_a_job_that_nobody_cancelled_waits_again_without_blame(self, workshop, running, tuned):
        running.claim()
        record(workshop, tuned, 1)
        running.stopped(tuned.job.id, adapter(workshop, tuned))
        job = workshop.job(tuned)
        assert (job.state, job.attempts, job.completed_steps) == (JobState.QUEUED, 0, 1)

    def test_of_a_deleted_job_nothing_is_left(self, workshop, running, tuned):
        running.claim()
        directory = adapter(workshop, tuned)
        workshop.tuning.delete(ADA, tuned.model.id)
        running.stopped(tuned.job.id, directory)
        assert workshop.artifacts.job_ids() == set()


class TestGiveBack:
    def test_the_job_waits_again_and_keeps_its_start(self, workshop, running, tuned):
        running.claim()
        before = workshop.job(tuned)
        running.give_back(tuned.job.id, died=True)
        job = workshop.job(tuned)
        assert (job.state, job.attempts, job.start_time) == (JobState.QUEUED, 1, before.start_time)

    def test_a_job_that_keeps_killing_its_trainer_fails_with_advice(self, workshop, running, tuned):
        states = []
        for _ in range(MAX_ATTEMPTS):
            running.claim()
            running.give_back(tuned.job.id, died=True)
            states.append(workshop.job(tuned).state)

        failed = workshop.tuning.get(ADA, tuned.model.id)
        assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
        assert (failed.model.state, failed.job.error.code) == (ModelState.FAILED, Code.INTERNAL)
        assert "ended unexpectedly 3 times in a row while it was training this job alone" in failed.job.error.message
        assert "smaller batch size" in failed.job.error.message

    def test_a_further_step_clears_the_blame(self, workshop, running, tuned):
        for step in range(1, 8):
            running.claim()
            running.resumed(tuned.job.id, step - 1)
            record(workshop, tuned, step)
            running.give_back(tuned.job.id, died=True)
        assert workshop.job(tuned).state is JobState.QUEUED

    def test_repeated_steps_are_no_further_steps(self, workshop, running, tuned):
        for _ in range(MAX_ATTEMPTS + 1):
            assert running.claim() is not None
            running.resumed(tuned.job.id, 0)
            record(workshop, tuned, 1, 2)
            running.give_back(tuned.job.id, died=True)
        assert workshop.job(tuned).state is JobState.FAILED

    def test_a_server_that_was_closed_is_nobodys_fault(self, workshop, running, tuned):
        for _ in range(5):
            running.claim()
            running.give_back(tuned.job.id, died=False)
        assert (workshop.job(tuned).state, workshop.job(tuned).attempts) == (JobState.QUEUED, 0)

    def test_a_cancelled_job_without_steps_need_not_run_again(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.cancel(ADA, tuned.model.id)
        running.give_back(tuned.job.id, died=True)
        assert workshop.job(tuned).state is JobState.CANCELLED

    def test_of_a_deleted_job_nothing_is_left(self, workshop, running, tuned):
        running.claim()
        workshop.tuning.delete(ADA, tuned.model.id)
        running.give_back(tuned.job.id, died=True)
        assert workshop.artifacts.job_ids() == set()


class TestStart:
    def test_what_was_running_waits_again_however_often_the_server_is_killed(self, workshop, running, tuned):
        for _ in range(5):
            running.claim()
            assert running.requeue_interrupted() == [tuned.job.id]
        assert (workshop.job(tuned).state, workshop.job(tuned).attempts) == (JobState.QUEUED, 0)

    def test_what_waited_or_has_ended_stays_as_it_is(self, workshop, running, tuned):
        workshop.advance()
        waiting = workshop.tuning.create(ADA, number_request())
        before = [workshop.job(one) for one in (tuned, waiting)]
        assert running.requeue_interrupted() == []
        assert [workshop.job(one) for one in (tuned, waiting)] == before

    def test_a_sweep_removes_files_of_deleted_jobs_and_no_others(self, workshop, running, tuned):
        deleted = workshop.tuning.create(ADA, number_request())
        workshop.tuning.delete(ADA, deleted.model.id)
        # As when the server was killed before it had removed them.
        workshop.artifacts.write_dataset(deleted.job.id, NUMBER_PAIRS)
        workshop.artifacts.write_dataset(JobId("orphan"), NUMBER_PAIRS)

        assert running.sweep() == [deleted.job.id]
        assert workshop.artifacts.job_ids() == {tuned.job.id}
        assert [path.name for path in workshop.artifacts.store.root.glob("set-aside/*/datasets/*")] == ["orphan.jsonl"]

    def test_a_resumed_job_ends_with_the_steps_of_an_undisturbed_one(self, workshop, running, tuned):
        workshop.advance(steps=5)
        running.requeue_interrupted()
        workshop.advance()
        job = workshop.job(tuned)
        assert [taken.step for taken in job.snapshots] == list(range(1, 20))
        assert [taken.mean_loss for taken in job.snapshots] == [8.0 / step for step in range(1, 20)]


class TestUnwanted:
    def test_cancelled_and_deleted_jobs_are_unwanted(self, workshop, running):
        kept, cancelled, deleted = (workshop.tuning.create(ADA, number_request()) for _ in range(3))
        jobs = [running.claim().job_id for _ in range(3)]
        workshop.tuning.cancel(ADA, cancelled.model.id)
        workshop.tuning.delete(ADA, deleted.model.id)
        assert running.unwanted(jobs) == {cancelled.job.id, deleted.job.id}
        assert kept.job.id in jobs


def test_the_executor_in_memory_keeps_the_contract_that_trainers_have(workshop, tuned):
    """The same story for any executor: first where it begins, then a step each, then the end."""
    executor: InMemoryExecutor = workshop.executor
    executor.die_before(6)
    assignment = workshop.running.claim()
    with pytest.raises(WorkerDied):
        list(executor.train(assignment))
    resumed = list(executor.train(assignment))

    assert [type(event) for event in resumed] == [Resumed, *[Stepped] * 15, Finished]
    assert (resumed[0].step, [kept.step for kept in resumed[0].snapshots]) == (4, [1, 2, 3, 4])
    assert [event.snapshot.step for event in resumed[1:-1]] == list(range(5, 20))


def test_cancelling_a_job_that_waits_again_leaves_nothing_of_a_finish_that_a_crash_cut_short(workshop, running, tuned):
    running.claim()
    workshop.artifacts.install_adapter(tuned.job.id, adapter(workshop, tuned))
    running.give_back(tuned.job.id, died=True)

    workshop.tuning.cancel(ADA, tuned.model.id)

    assert workshop.job(tuned).state is JobState.CANCELLED
    assert not workshop.artifacts.adapter_directory(tuned.job.id).exists()
