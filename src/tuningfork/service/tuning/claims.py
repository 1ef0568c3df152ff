"""A server's claims on jobs that are in one state, and the leases of all servers' claims.

A claimed job is held by its server until it is let go. A server that renews no lease loses its jobs.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS, RENEWALS_IN_A_LEASE, LeaseWatch
from tuningfork.store import leases
from tuningfork.store.database import Database, Transaction
from tuningfork.store.leases import Claim, Lease, ServerId


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal has found: claims whose leases have run out, and whether another server has a valid one."""

    run_out: tuple[Claim, ...] = ()
    others_are_alive: bool = False


class Claims:
    """The claims of this server. Methods may be called from several threads.

    Args:
        database: the database.
        server: the id of this server.
        leases_of: reads the leases of all jobs in the state, such as `leases.running`.
        lease_seconds: how long a job is another server's that does not renew its lease.
        monotonic: a monotonic clock in seconds, by which leases are renewed and watched.

    """

    def __init__(
        self,
        database: Database,
        server: ServerId,
        leases_of: Callable[[Transaction], list[Lease]],
        *,
        lease_seconds: float = LEASE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._server = server
        self._leases_of = leases_of
        self._monotonic = monotonic
        self._renew_every_seconds = lease_seconds / RENEWALS_IN_A_LEASE
        self._last_renewal = -lease_seconds
        self._watch = LeaseWatch[Lease](lease_seconds, monotonic)
        # A thread that follows a job lets its claim go while another one looks through all of them.
        self._lock = threading.Lock()
        self._claims: dict[JobId, Claim] = {}

    def add(self, claim: Claim) -> None:
        """Note a claim that this server has taken."""
        with self._lock:
            self._claims[claim.job_id] = claim

    def of(self, job_id: JobId) -> Claim:
        """This server's claim on the job. If it has none, a claim that is not valid, with which nothing is written."""
        with self._lock:
            return self._claims.get(job_id) or Claim(job_id=job_id, server=self._server, number=0)

    def job_ids(self) -> set[JobId]:
        """The jobs that this server has claimed and not let go, also those that it has lost."""
        with self._lock:
            return set(self._claims)

    def let_go(self, claim: Claim) -> bool:
        """Forget the claim, unless this server has claimed the job again since; returns whether it was known."""
        with self._lock:
            known = self._claims.get(claim.job_id) == claim
            if known:
                del self._claims[claim.job_id]
            return known

    def still_held(self, connection: Transaction, job_ids: Collection[JobId]) -> set[JobId]:
        """Those of these jobs on which this server's claim is still valid."""
        valid = {lease.claim for lease in self._leases_of(connection)}
        return {job_id for job_id in job_ids if self.of(job_id) in valid}

    def renew(self) -> Renewal:
        """Renew the leases of this server's jobs, and find those of other servers that have run out.

        To be called often; does nothing unless a renewal is due.
        """
        now = self._monotonic()
        if now - self._last_renewal < self._renew_every_seconds:
            return Renewal()
        self._last_renewal = now
        with self._database.read() as connection:
            found = self._leases_of(connection)
        with self._lock:
            own = {*self._claims.values()}
        if held := [lease.claim for lease in found if lease.claim in own]:
            # Not durable: a power cut that undoes a renewal has also ended this server.
            with self._database.write(durable=False) as connection:
                leases.renew(connection, held)
        others = [lease for lease in found if lease.claim not in own]
        run_out = tuple(lease.claim for lease in self._watch.run_out(others))
        return Renewal(run_out, others_are_alive=any(lease.claim not in run_out for lease in others))
