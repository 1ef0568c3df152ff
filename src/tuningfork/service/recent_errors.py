"""Counts the requests of the last day that were refused or failed, by their HTTP status."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from tuningfork.domain.engine_report import ErrorCount

_HOURS = 24
_LEAST_STATUS = 400


class RecentErrors:
    """Counts errors in the memory of one server, an hour at a time. Thread-safe.

    Args:
        clock: the time now, timezone-aware.

    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By the hour in which they came.
        self._counts: dict[datetime, Counter[int]] = {}
        self._last: dict[int, datetime] = {}

    def note(self, status: int) -> None:
        """Count an answer; only statuses from 400 on are errors."""
        if status < _LEAST_STATUS:
            return
        now = self._clock()
        with self._lock:
            self._counts.setdefault(_hour_of(now), Counter())[status] += 1
            self._last[status] = now
            self._forget(now)

    def of_last_day(self) -> tuple[ErrorCount, ...]:
        """The errors of the last 24 hours, whole hours taken, by status."""
        with self._lock:
            self._forget(self._clock())
            total = sum(self._counts.values(), Counter[int]())
            return tuple(
                ErrorCount(status=status, count=total[status], last_time=self._last[status]) for status in sorted(total)
            )

    def _forget(self, now: datetime) -> None:
        oldest = _hour_of(now) - timedelta(hours=_HOURS)
        for hour in [each for each in self._counts if each <= oldest]:
            del self._counts[hour]


def _hour_of(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
