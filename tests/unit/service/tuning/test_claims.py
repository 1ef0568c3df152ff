"""What a server holds of the jobs in one state."""

import itertools
import threading

from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.claims import Claims
from tuningfork.store.leases import Claim, Lease, ServerId

SERVER = ServerId("here")


def claim(job, number=1, server=SERVER):
    return Claim(job_id=JobId(job), server=server, number=number)


def claims_over(database, *others):
    """Claims of a server, beside valid ones of others, with a renewal due at every call."""
    clock = itertools.count(0, 1_000)
    leases = [Lease(claim=each, renewals=0) for each in others]
    return Claims(database, SERVER, lambda _: leases, monotonic=lambda: next(clock))


def test_an_older_claim_that_is_let_go_leaves_the_newer_one(database):
    claims = claims_over(database)
    claims.add(claim("a", 1))
    claims.add(claim("a", 2))
    assert not claims.let_go(claim("a", 1))
    assert claims.of(JobId("a")) == claim("a", 2)
    assert claims.let_go(claim("a", 2))
    assert claims.of(JobId("a")).number == 0


def test_a_renewal_tells_whether_others_hold_jobs(database):
    assert not claims_over(database).renew().others_are_alive
    assert claims_over(database, claim("a", server=ServerId("there"))).renew().others_are_alive


def test_claims_may_be_let_go_while_all_are_looked_through(database):
    claims = claims_over(database)
    done = threading.Event()

    def follow(name):
        while not done.is_set():
            for number in range(200):
                claims.add(claim(f"{name}{number}"))
            for number in range(200):
                claims.let_go(claim(f"{name}{number}"))

    threads = [threading.Thread(target=follow, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            claims.renew()
            claims.job_ids()
    finally:
        done.set()
        for thread in threads:
            thread.join()
