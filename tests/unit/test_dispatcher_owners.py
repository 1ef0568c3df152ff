"""Owners share the trainer: one with one job waits for no queue of another's."""

from patience import wait_until
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.tuning_job import JobState
from workshop import ADA, BOB, number_request


def dispatcher_of(workshop, executor, concurrency):
    return Dispatcher(
        workshop.running, executor, executor, workshop.metrics, concurrency=concurrency, poll_seconds=0.05
    )


def owners_of(executor, jobs):
    names = {tuned.job.id: owner for owner, each in jobs.items() for tuned in each}
    return [names[each.job_id] for each in executor.assignments]


def test_jobs_are_taken_up_owner_by_owner_however_many_one_has_queued(workshop, executor):
    jobs = {"ada": [workshop.tuning.create(ADA, number_request()) for _ in range(5)]}
    jobs["bob"] = [workshop.tuning.create(BOB, number_request()) for _ in range(2)]
    dispatcher = dispatcher_of(workshop, executor, 1)
    dispatcher.start()
    for tuned in jobs["ada"]:
        workshop.wait_until(JobState.SUCCEEDED, tuned)
    dispatcher.close()

    assert owners_of(executor, jobs) == ["ada", "bob", "ada", "bob", "ada", "ada", "ada"]
    assert {each.owner for each in executor.assignments} == {"ada@example.com", "bob@example.com"}


def test_an_owner_with_all_places_makes_room_for_one_with_none_and_loses_no_step(workshop, executor):
    workshop.running.turns.least_seconds = 0.0
    first = [workshop.tuning.create(ADA, number_request()) for _ in range(3)]
    early = [executor.hold_before(5, job_id=tuned.job.id) for tuned in first]
    late = [executor.hold_before(15, job_id=tuned.job.id) for tuned in first]
    dispatcher = dispatcher_of(workshop, executor, 3)
    dispatcher.start()
    for gate in early:
        gate.wait_until_reached()
    other = workshop.tuning.create(BOB, number_request())
    wait_until(lambda: executor.pause_calls)
    for gate in early:
        gate.open()
    wait_until(lambda: len(executor.assignments) > 3)
    is_others = executor.assignments[3].job_id == other.job.id
    states = [workshop.job(tuned).state for tuned in first]
    for gate in late:
        gate.open()
    done = [workshop.wait_until(JobState.SUCCEEDED, tuned) for tuned in first]
    dispatcher.close()

    assert is_others
    assert JobState.SUCCEEDED not in states
    assert all([taken.step for taken in each.job.snapshots] == list(range(1, 20)) for each in done)
    assert all(each.job.attempts == 0 for each in done)
