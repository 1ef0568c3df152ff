"""Which server holds which running job."""

import threading

import pytest

from store_rows import NOW, keep, new_job
from tuningfork.domain.tuning_job import JobState
from tuningfork.store import leases, tuning_jobs
from tuningfork.store.leases import Claim, Lease, ServerId

ONE, TWO = ServerId("one"), ServerId("two")


@pytest.fixture
def job(database):
    return keep(database, new_job("a"))


def take(database, job, server):
    with database.write() as connection:
        assert tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        return leases.take(connection, job.id, server)


def give_back(database, job):
    with database.write() as connection:
        assert tuning_jobs.move(connection, job.id, JobState.QUEUED, NOW)


def holds(database, claim):
    with database.write() as connection:
        return leases.hold(connection, claim)


def test_who_takes_a_job_up_holds_it(database, job):
    claim = take(database, job, ONE)

    assert claim == Claim(job_id=job.id, server=ONE, number=1)
    assert holds(database, claim)
    with database.read() as connection:
        assert leases.running(connection) == [Lease(claim=claim, renewals=0)]
        assert leases.still_held(connection, [claim]) == {job.id}


def test_a_job_that_waits_or_has_ended_is_held_by_nobody(database, job):
    claim = take(database, job, ONE)
    give_back(database, job)
    assert not holds(database, claim)

    again = take(database, job, ONE)
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.SUCCEEDED, NOW)
    assert not holds(database, again)
    with database.read() as connection:
        assert leases.running(connection) == []


@pytest.mark.parametrize("server", [ONE, TWO])
def test_a_claim_is_lost_once_the_job_is_taken_up_again(database, job, server):
    lost = take(database, job, ONE)
    give_back(database, job)
    held = take(database, job, server)

    assert (holds(database, lost), holds(database, held)) == (False, True)
    with database.read() as connection:
        assert leases.still_held(connection, [lost]) == set()


def test_a_renewal_counts_for_the_holder_only(database, job):
    lost = take(database, job, ONE)
    give_back(database, job)
    held = take(database, job, TWO)
    with database.write() as connection:
        leases.renew(connection, [lost])
        leases.renew(connection, [held])
        leases.renew(connection, [held])

    with database.read() as connection:
        assert leases.running(connection) == [Lease(claim=held, renewals=2)]


def test_a_job_that_an_older_version_left_running_has_no_holder(database, job):
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        (lease,) = leases.running(connection)

    assert lease.claim == Claim(job_id=job.id, server=None, number=0)
    assert holds(database, lease.claim)


def test_a_claim_that_was_seen_to_hold_holds_until_the_transaction_ends(database, job):
    claim = take(database, job, ONE)
    given_back, order = threading.Event(), []

    def late():
        give_back(database, job)
        order.append("given back")
        given_back.set()

    with database.write() as connection:
        assert leases.hold(connection, claim)
        other = threading.Thread(target=late)
        other.start()
        assert not given_back.wait(0.2)
        order.append("written")
    other.join()

    assert order == ["written", "given back"]
