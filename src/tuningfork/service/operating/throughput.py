"""What a server did in each of the last sixty minutes, by the counters that its metrics show."""

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from tuningfork.domain.operations import Work, WorkOfMinute

_MINUTES = 60


class Throughput:
    """Keeps what was done in each of the last sixty minutes, in the memory of one server. Thread-safe.

    Args:
        clock: the time now, timezone-aware.
        total: what was done since the server started.

    """

    def __init__(self, clock: Callable[[], datetime], total: Callable[[], Work]) -> None:
        self._clock = clock
        self._total = total
        self._lock = threading.Lock()
        self._minutes: deque[WorkOfMinute] = deque(maxlen=_MINUTES)
        self._minute = _minute_of(clock())
        self._counted = total()

    def sample(self) -> None:
        """Close the minutes that have ended. To be called more than once a minute; costs nothing within one."""
        now = _minute_of(self._clock())
        with self._lock:
            if now <= self._minute:
                return
            total = self._total()
            self._minutes.append(WorkOfMinute(time=self._minute, work=total.since(self._counted)))
            self._minute, self._counted = now, total

    def of_last_hour(self) -> tuple[WorkOfMinute, ...]:
        """The minutes of the last hour in which something was done, the oldest first; the current one is the last."""
        self.sample()
        with self._lock:
            current = WorkOfMinute(time=self._minute, work=self._total().since(self._counted))
            since = self._minute - timedelta(minutes=_MINUTES)
            return tuple(each for each in (*self._minutes, current) if each.time > since and each.work != Work())


def _minute_of(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)
