"""A lease has run out when this server has seen it unchanged for long enough, by its own clock."""

from dataclasses import replace

import pytest

from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.lease_watch import LeaseWatch
from tuningfork.store.leases import Claim, Lease, ServerId

LEASE = Lease(claim=Claim(job_id=JobId("job"), server=ServerId("other"), number=1), renewals=0)


@pytest.fixture
def seconds():
    """This machine's seconds; a test sets them."""
    return [1_000.0]


@pytest.fixture
def watch(seconds):
    return LeaseWatch(30.0, lambda: seconds[0])


def look(watch, seconds, lease, *, for_seconds):
    """Look at the lease every five seconds for so long; what the last look found."""
    for _ in range(for_seconds // 5):
        seconds[0] += 5.0
        found = watch.run_out([lease])
    return found


def test_a_lease_runs_out_when_nobody_renews_it(watch, seconds):
    assert watch.run_out([LEASE]) == []
    assert look(watch, seconds, LEASE, for_seconds=25) == []
    assert look(watch, seconds, LEASE, for_seconds=5) == [LEASE]


def test_each_renewal_begins_the_time_anew(watch, seconds):
    for renewals in range(10):
        assert watch.run_out([replace(LEASE, renewals=renewals)]) == []
        assert look(watch, seconds, replace(LEASE, renewals=renewals), for_seconds=25) == []


def test_who_was_away_for_long_does_not_count_that_time_against_a_lease_that_was_renewed(watch, seconds):
    watch.run_out([LEASE])
    seconds[0] += 1_000.0
    assert watch.run_out([replace(LEASE, renewals=1)]) == []


def test_a_pause_of_the_server_that_watches_counts_against_nobody(watch, seconds):
    # The whole machine may have been asleep, and the holder with it.
    watch.run_out([LEASE])
    seconds[0] += 1_000.0
    assert watch.run_out([LEASE]) == []
    assert look(watch, seconds, LEASE, for_seconds=15) == []
    assert look(watch, seconds, LEASE, for_seconds=15) == [LEASE]


def test_another_claim_on_the_job_is_another_lease(watch, seconds):
    watch.run_out([LEASE])
    look(watch, seconds, LEASE, for_seconds=25)
    seconds[0] += 5.0
    assert watch.run_out([replace(LEASE, claim=replace(LEASE.claim, number=2))]) == []


def test_a_lease_that_ended_is_forgotten(watch, seconds):
    watch.run_out([LEASE])
    look(watch, seconds, LEASE, for_seconds=25)
    watch.run_out([])
    seconds[0] += 5.0
    assert watch.run_out([LEASE]) == []
