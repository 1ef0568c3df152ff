"""Counts the requests of the last day that were refused or failed, by their HTTP status and endpoint."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from tuningfork.domain.engine_report import ErrorCount

_HOURS = 24
_LEAST_STATUS = 400
_MOST_KINDS = 1_000
"""Endpoints have few names, and statuses are few. This bounds the memory whatever an application may answer."""

_Kind = tuple[int, str]


class RecentErrors:
    """Counts errors in the memory of one server, an hour at a time. Thread-safe.

    Args:
        clock: the time now, timezone-aware.

    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By the hour in which they came.
        self._counts: dict[datetime, Counter[_Kind]] = {}
        self._last: dict[_Kind, tuple[datetime, str]] = {}

    def note(self, status: int, endpoint: str, request_id: str) -> None:
        """Count an answer; only statuses from 400 on are errors. `endpoint` is the name by which metrics count it."""
        if status < _LEAST_STATUS:
            return
        now, kind = self._clock(), (status, endpoint)
        with self._lock:
            self._forget(now)
            if kind not in self._last and len(self._last) >= _MOST_KINDS:
                return
            self._counts.setdefault(_hour_of(now), Counter())[kind] += 1
            self._last[kind] = now, request_id

    def of_last_day(self) -> tuple[ErrorCount, ...]:
        """The errors of the last 24 hours, whole hours taken, by status and endpoint."""
        with self._lock:
            self._forget(self._clock())
            total = sum(self._counts.values(), Counter[_Kind]())
            return tuple(
                ErrorCount(
                    status=status,
                    endpoint=endpoint,
                    count=total[status, endpoint],
                    last_time=self._last[status, endpoint][0],
                    last_request_id=self._last[status, endpoint][1],
                )
                for status, endpoint in sorted(total)
            )

    def _forget(self, now: datetime) -> None:
        oldest = _hour_of(now) - timedelta(hours=_HOURS)
        if not (past := [hour for hour in self._counts if hour <= oldest]):
            return
        for hour in past:
            del self._counts[hour]
        kept: set[_Kind] = set().union(*self._counts.values())
        self._last = {kind: last for kind, last in self._last.items() if kind in kept}


def _hour_of(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
