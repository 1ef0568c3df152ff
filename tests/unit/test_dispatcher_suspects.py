"""A trainer that dies with several jobs: only the one that dies alone fails, the others go on."""

import threading

import pytest

from fakes import InMemoryExecutor
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.base import TrainerDeath, TrainerDied
from workshop import ADA, build_workshop, number_request


def dispatcher_of(workshop, executor, **options):
    return Dispatcher(
        workshop.running,
        executor,
        executor,
        workshop.metrics,
        concurrency=8,
        pause_seconds=0.01,
        **{"poll_seconds": 0.05, **options},
    )


def began_together(workshop, executor, count):
    """Jobs that are all in training before any takes a step."""
    gates = [executor.hold_before(1) for _ in range(count)]
    jobs = [workshop.tuning.create(ADA, number_request()) for _ in range(count)]
    dispatcher = dispatcher_of(workshop, executor)
    dispatcher.start()
    for gate in gates:
        gate.wait_until_reached()
    for gate in gates:
        gate.open()
    return dispatcher, jobs


def test_of_six_jobs_only_the_one_that_kills_the_trainer_fails(workshop, executor):
    gates = [executor.hold_before(1) for _ in range(6)]
    jobs = [workshop.tuning.create(ADA, number_request()) for _ in range(6)]
    bad = jobs[3]
    executor.kill_before(3, job_id=bad.job.id)
    dispatcher = dispatcher_of(workshop, executor)
    dispatcher.start()
    for gate in gates:
        gate.wait_until_reached()
    for gate in gates:
        gate.open()
    failed = workshop.wait_until(JobState.FAILED, bad)
    done = [workshop.wait_until(JobState.SUCCEEDED, tuned) for tuned in jobs if tuned is not bad]
    dispatcher.close()

    message = failed.job.error.message
    assert "3 times in a row while it was training this job alone" in message
    assert "The last time: The trainer ended unexpectedly (signal 9)." in message
    for tuned in done:
        assert [taken.mean_loss for taken in tuned.job.snapshots] == [8.0 / step for step in range(1, 20)]
        assert tuned.job.attempts == 0
    # Those that were suspected with it were in training with no other until they were cleared.
    alone = [each for each in executor.together[6:] if bad.job.id in each]
    assert alone == [frozenset({bad.job.id})] * len(alone)
    assert len(alone) >= 3


def test_jobs_that_end_a_trainer_only_together_all_succeed(workshop, clock):
    class Crowded(InMemoryExecutor):
        """Dies whenever it has two jobs after their first step, as for want of memory."""

        def _meet_script(self, job_id, step, process):
            if step > 1 and len(process.jobs) > 1 and process.death is None:
                process.death = TrainerDeath(id=f"death-{len(self.assignments)}", jobs=frozenset(process.jobs))
                self._process = type(process)()
            return super()._meet_script(job_id, step, process)

    executor = Crowded(clock, step_seconds=0.002)
    executor.artifacts = workshop.artifacts.store
    dispatcher, jobs = began_together(workshop, executor, 3)
    for tuned in jobs:
        workshop.wait_until(JobState.SUCCEEDED, tuned)
    dispatcher.close()

    # Each was alone for 1, 4 and at last 16 of its 19 steps.
    assert len(executor.assignments) < 30


@pytest.mark.parametrize("reason", ["from_outside", "during_probe"])
def test_a_trainer_that_ended_for_another_reason_is_held_against_no_job(workshop, executor, reason):
    tuned = workshop.tuning.create(ADA, number_request())
    death = TrainerDeath(id="terminated", jobs=frozenset({tuned.job.id, "another"}), **{reason: True})
    executor.raise_before(3, TrainerDied("signal 15", death), times=5)
    dispatcher = dispatcher_of(workshop, executor)
    dispatcher.start()
    done = workshop.wait_until(JobState.SUCCEEDED, tuned)
    dispatcher.close()

    assert done.job.attempts == 0
    assert workshop.running.turns.turn({}, 1).alone is False


def test_a_server_that_restarts_in_between_still_knows_the_suspects(workshop, database, artifacts, clock, executor):
    jobs = [workshop.tuning.create(ADA, number_request()) for _ in range(3)]
    for tuned in jobs[:2]:
        workshop.running.claim([tuned.job.id])
    for tuned in jobs[:2]:
        workshop.running.give_back(tuned.job.id, died=True, shared_death="death")
    workshop.running.claim([jobs[0].job.id])

    restarted = build_workshop(database, artifacts, clock, InMemoryExecutor(clock))
    restarted.running.requeue_interrupted()
    turn = restarted.running.turns.turn({}, 8)

    assert turn.alone
    assert turn.next == (jobs[1].job.id, jobs[0].job.id)
    assert [workshop.job(tuned).attempts for tuned in jobs] == [0, 0, 0]


def test_a_running_job_makes_room_for_a_suspect_without_losing_a_step(workshop, executor):
    running = workshop.tuning.create(ADA, number_request())
    gate = executor.hold_before(5, job_id=running.job.id)
    # It looks when it is woken, which creating a job does not do: the workshop has another dispatcher.
    waiting = threading.Event()
    dispatcher = dispatcher_of(workshop, executor, poll_seconds=PATIENCE_SECONDS, after_each_round=waiting.set)
    dispatcher.start()
    gate.wait_until_reached()
    # Otherwise it might look for more to take up, and find the other job before that is a suspect.
    assert waiting.wait(PATIENCE_SECONDS)
    suspect = workshop.tuning.create(ADA, number_request())
    workshop.running.claim([suspect.job.id])
    workshop.running.give_back(suspect.job.id, died=True, shared_death="death")
    dispatcher.wake()
    wait_until(lambda: running.job.id in executor.pause_calls)
    gate.open()
    done = [workshop.wait_until(JobState.SUCCEEDED, tuned) for tuned in (suspect, running)]
    dispatcher.close()

    assert all([taken.step for taken in each.job.snapshots] == list(range(1, 20)) for each in done)
    own = [each for each in executor.together if running.job.id in each]
    assert own[0] == {running.job.id}
    assert executor.together[1] == {suspect.job.id}
