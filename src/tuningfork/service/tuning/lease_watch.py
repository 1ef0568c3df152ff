"""Finds running jobs and evaluations whose server has died, without comparing the clocks of two machines."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Watched = TypeVar("Watched", bound=Hashable)
"""A claim with the number of its renewals, such as `store.leases.Lease`."""

LEASE_SECONDS = 30.0
"""How long a running job's lease may go without a renewal before another server queues the job again."""

RENEWALS_IN_A_LEASE = 6
"""How often a holder renews a lease within that time, so that a few slow writes do no harm."""


class LeaseWatch(Generic[Watched]):
    """Measures, by this server's clock, how long each lease has not been renewed.

    A lease has run out when that time reaches `lease_seconds`. So no job is taken over because clocks are wrong or
    differ, and a server that has just started waits for that time first. Between two calls of `run_out` at most the
    time of two renewals is counted: a longer gap means that this server was paused, and perhaps the holder too.
    """

    def __init__(self, lease_seconds: float, monotonic: Callable[[], float]) -> None:
        self._lease_seconds = lease_seconds
        self._longest_gap_seconds = 2 * lease_seconds / RENEWALS_IN_A_LEASE
        self._monotonic = monotonic
        self._last_look = monotonic()
        self._unchanged_seconds: dict[Watched, float] = {}

    def run_out(self, leases: Iterable[Watched]) -> list[Watched]:
        """Those of these leases that have run out. `leases` are all leases to watch, just read from the database."""
        now = self._monotonic()
        gap = min(now - self._last_look, self._longest_gap_seconds)
        self._last_look = now
        before = self._unchanged_seconds
        self._unchanged_seconds = {lease: before[lease] + gap if lease in before else 0.0 for lease in leases}
        return [lease for lease, seconds in self._unchanged_seconds.items() if seconds >= self._lease_seconds]
