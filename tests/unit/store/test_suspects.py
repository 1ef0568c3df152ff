"""Who is suspected of a trainer's death, and until when."""

from datetime import timedelta

import pytest

from store_rows import ECHO, NOW, keep, new_job
from tuningfork.domain.tuning_job import JobState, Snapshot
from tuningfork.store import snapshots, suspects, tuning_jobs


@pytest.fixture
def jobs(database):
    return [
        keep(database, new_job(name, create_time=NOW + timedelta(seconds=place))).id for place, name in enumerate("abc")
    ]


def accuse(database, death, *job_ids, shared=True):
    with database.write() as connection:
        for job_id in job_ids:
            suspects.accuse(connection, job_id, death, shared=shared)


def queued(database):
    with database.read() as connection:
        return suspects.queued(connection, [ECHO])


def advance(database, job_id, *steps):
    """The job is taken up, takes these steps, and waits again."""
    with database.write() as connection:
        tuning_jobs.move(connection, job_id, JobState.RUNNING, NOW)
        for step in steps:
            snapshots.drop_snapshots(connection, job_id, after_step=step - 1)
            snapshots.append_snapshot(connection, job_id, Snapshot(step=step, epoch=0, mean_loss=1.0, compute_time=NOW))
        tuning_jobs.move(connection, job_id, JobState.QUEUED, NOW)


def test_those_that_have_come_least_far_are_tried_first_and_of_these_the_youngest(database, jobs):
    advance(database, jobs[2], 1, 2)
    accuse(database, "death", *jobs)

    assert queued(database) == [jobs[1], jobs[0], jobs[2]]


def test_a_suspect_is_cleared_by_a_further_step_and_not_by_a_repeated_one(database, jobs):
    advance(database, jobs[0], 1, 2)
    accuse(database, "death", jobs[0], jobs[1])
    advance(database, jobs[0], 1, 2)
    before = queued(database)
    advance(database, jobs[0], 3)

    assert before == [jobs[1], jobs[0]]
    assert queued(database) == [jobs[1]]


def test_after_each_further_shared_death_a_job_stays_alone_four_times_as_long_up_to_64_steps(database, jobs):
    job, alone_steps, step = jobs[0], [], 0
    for number in range(6):
        accuse(database, f"death {number}", job)
        count = 0
        while job in queued(database):
            step, count = step + 1, count + 1
            advance(database, job, step)
        alone_steps.append(count)

    assert alone_steps == [1, 4, 16, 64, 64, 64]


@pytest.mark.parametrize(("further_steps", "alone_steps"), [(255, 16), (256, 1)])
def test_shared_deaths_are_forgotten_after_many_steps_without_one(database, jobs, further_steps, alone_steps):
    job = jobs[0]
    accuse(database, "death 1", job)
    accuse(database, "death 2", job)
    # It was alone for four steps, and then with others.
    advance(database, job, 4 + further_steps)
    accuse(database, "death 3", job)
    count = 0
    while job in queued(database):
        count += 1
        advance(database, job, 4 + further_steps + count)

    assert count == alone_steps


def test_a_job_that_dies_alone_stays_alone_until_a_further_step(database, jobs):
    accuse(database, "death 1", jobs[0], shared=False)
    accuse(database, "death 2", jobs[0], shared=False)
    before = queued(database)
    advance(database, jobs[0], 1)

    assert (before, queued(database)) == ([jobs[0]], [])


def test_when_the_reason_is_found_the_others_of_the_same_death_are_cleared(database, jobs):
    other = keep(database, new_job("d")).id
    accuse(database, "death", *jobs)
    accuse(database, "another death", other)
    accuse(database, "its own", jobs[0], shared=False)
    with database.write() as connection:
        suspects.close_case(connection, jobs[0])

    assert queued(database) == [other]


def test_running_suspects_are_found_and_other_bases_are_left_out(database, jobs):
    accuse(database, "death", *jobs[:2])
    with database.write() as connection:
        tuning_jobs.move(connection, jobs[0], JobState.RUNNING, NOW)
    with database.read() as connection:
        running = suspects.among(connection, [jobs[0], jobs[2]])
        elsewhere = suspects.queued(connection, ["models/other"])

    assert running == {jobs[0]}
    assert (queued(database), elsewhere) == ([jobs[1]], [])
