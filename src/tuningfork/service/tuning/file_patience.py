"""How long jobs wait for training files that cannot be read at the moment, and how often it is tried."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tuningfork.domain.tuning_job import JobId

PATIENCE_SECONDS = 1800.0
FIRST_PAUSE_SECONDS = 5.0
MOST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failing:
    """A job whose files could not be read: since when on the monotonic clock, and how often in a row."""

    since: float
    times: int


class FilePatience:
    """Counts, for each job, the time since its files could not be read for the first time. Thread-safe.

    It is patience by time and not by tries: an object store that is away for some minutes fails no job, however quickly
    each try fails. A restart of the server begins the time anew.

    Args:
        patience_seconds: how long a job waits before it fails.
        first_pause_seconds: the time between the first try and the second; it doubles with each further try.
        most_pause_seconds: the longest time between two tries.
        monotonic: a monotonic clock in seconds.

    """

    def __init__(
        self,
        patience_seconds: float = PATIENCE_SECONDS,
        *,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        most_pause_seconds: float = MOST_PAUSE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience_seconds = patience_seconds
        self._first_pause_seconds = first_pause_seconds
        self._most_pause_seconds = most_pause_seconds
        self._monotonic = monotonic
        self._failing: dict[JobId, _Failing] = {}
        self._lock = threading.Lock()

    def failed(self, job_id: JobId) -> float | None:
        """Note that the files of a job could not be read. Returns the seconds until the next try.

        None: the patience is used up, and the job is forgotten.
        """
        now = self._monotonic()
        with self._lock:
            # Jobs that were cancelled or deleted meanwhile are not told of.
            too_old = now - 2 * self.patience_seconds
            self._failing = {job: each for job, each in self._failing.items() if each.since > too_old}
            before = self._failing.pop(job_id, _Failing(since=now, times=0))
            if now - before.since >= self.patience_seconds:
                return None
            self._failing[job_id] = replace(before, times=before.times + 1)
        pause = self._first_pause_seconds * 2 ** min(before.times, 30)
        return float(min(pause, self._most_pause_seconds))

    def forget(self, job_id: JobId) -> None:
        """Begin anew for this job, whose files could be read, or which has ended."""
        with self._lock:
            self._failing.pop(job_id, None)
