"""What of a directory's files a database accounts for."""

import pytest

from tuningfork.domain.tuning_job import JobId
from tuningfork.store import deleted_jobs
from tuningfork.store.strangers import Strangers, strangers
from workshop import ADA, NUMBER_PAIRS, number_request

GONE, OTHER = JobId("gone"), JobId("other")


def make(workshop, *, steps=None):
    """A model whose job has ended, or has made so many steps."""
    tuned = workshop.tuning.create(ADA, number_request())
    if steps != 0:
        workshop.advance(steps)
    return tuned


def give_adapter(artifacts, source, job_id):
    """Let a job have a complete adapter in its place, and no work."""
    artifacts.store.share(artifacts.adapter(source), artifacts.adapter(job_id))


def found(workshop):
    return strangers(workshop.database, workshop.artifacts)


def test_nothing_is_strange_in_a_directory_that_its_database_knows(workshop):
    for steps in (None, 3, 0):
        make(workshop, steps=steps)

    assert found(workshop) == Strangers()


def test_unknown_jobs_are_told_apart_by_their_weights(workshop, artifacts):
    done = make(workshop)
    artifacts.write_dataset(OTHER, NUMBER_PAIRS)
    give_adapter(artifacts, done.job.id, GONE)

    assert found(workshop) == Strangers(begun=(OTHER,), trained=(GONE,))
    assert found(workshop).weights == (GONE,)


def test_an_unfinished_copy_of_an_adapter_counts_as_weights_too(workshop, artifacts):
    artifacts.adapter_directory(GONE).mkdir()

    assert found(workshop) == Strangers(trained=(GONE,))


def test_deleted_jobs_are_deleted_whatever_they_left(workshop, artifacts):
    done = make(workshop)
    for job_id in (GONE, OTHER):
        give_adapter(artifacts, done.job.id, job_id)
    with workshop.database.write() as connection:
        deleted_jobs.note(connection, GONE, workshop.clock())

    assert found(workshop) == Strangers(deleted=(GONE,), trained=(OTHER,))


@pytest.mark.parametrize("keeps_work", [False, True])
def test_an_adapter_of_a_job_that_waits_shows_a_crash_or_by_its_lacking_work_an_older_database(
    workshop, artifacts, keeps_work
):
    done = make(workshop)
    waiting = make(workshop, steps=0)
    give_adapter(artifacts, done.job.id, waiting.job.id)
    if keeps_work:
        artifacts.prepare_work(waiting.job.id)

    told = {"unannounced" if keeps_work else "ahead": (waiting.job.id,)}
    assert found(workshop) == Strangers(**told)


def test_what_another_server_is_just_finishing_is_not_strange(workshop, artifacts):
    """It has put the adapter into place, and will write the end to the database in a moment."""
    done = make(workshop)
    running = make(workshop, steps=3)
    give_adapter(artifacts, done.job.id, running.job.id)

    assert found(workshop) == Strangers()


def test_more_deleted_jobs_than_a_statement_takes_parameters_are_found(workshop):
    many = [JobId(f"job{number}") for number in range(1_200)]
    with workshop.database.write() as connection:
        for job_id in many[::2]:
            deleted_jobs.note(connection, job_id, workshop.clock())
    with workshop.database.read() as connection:
        assert deleted_jobs.among(connection, many) == set(many[::2])
