"""Keeps a fault that occurs again and again from filling the log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuningfork.logs.access import ACCESS_LOGGER

WINDOW_SECONDS = 10.0
PASSED_RECORDS = 50
"""The most records of one kind that are logged in a window of time."""
PASSED_TRACEBACKS = 5
"""The most records with a traceback of one kind that are logged in a window, since tracebacks are long."""

PASSED_REQUESTS = 10_000
"""The most records of requests in a window."""

_MOST_KINDS = 1_000
_LOOK_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class _Seen:
    began: float
    passed: int = 0
    left_out: int = 0


def _most(logger: str, raised: str) -> int:
    if logger == ACCESS_LOGGER:
        return PASSED_REQUESTS
    return PASSED_TRACEBACKS if raised else PASSED_RECORDS


class RepeatedRecords(logging.Filter):
    """Logs the first records of each kind in a window of time, and counts the others.

    A kind is a logger, a level, a message without its arguments, and the class of the exception. The count is logged
    after the window, with the next record of any kind.

    The filter takes the handler's lock, which is reentrant: the garbage collector may run meanwhile, and the end of an
    object that it collects may be logged. With a lock of its own, two threads could wait for each other: one that
    filters, whose collector logs, and one that writes.

    Args:
        handler: writes the counts.
        clock: a monotonic clock, in seconds.

    """

    def __init__(self, handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self._seen: dict[tuple[str, int, str, str], _Seen] = {}
        self._looked_at = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        raised = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        kind = (record.name, record.levelno, str(record.msg), raised)
        with self._alone():
            ended = self._end_windows()
            if kind not in self._seen and len(self._seen) >= _MOST_KINDS:
                kind = (record.name, record.levelno, "", raised)
            seen = self._seen.setdefault(kind, _Seen(self._clock()))
            passes = seen.passed < _most(record.name, raised)
            seen.passed += passes
            seen.left_out += not passes
        for (name, level, message, _), left_out in ended:
            self._write_count(name, level, message, left_out)
        return passes

    def _end_windows(self) -> list[tuple[tuple[str, int, str, str], int]]:
        """Forget the windows that are over; return the kinds of which records were left out, with their counts."""
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY_SECONDS:
            return []
        self._looked_at = now
        oldest = now - WINDOW_SECONDS
        # Of a copy, since a record that is logged meanwhile may add a kind.
        over = [(kind, seen) for kind in list(self._seen) if (seen := self._seen.get(kind)) and seen.began < oldest]
        for kind, _ in over:
            self._seen.pop(kind, None)
        return [(kind, seen.left_out) for kind, seen in over if seen.left_out]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._handler.acquire()
        try:
            yield
        finally:
            self._handler.release()

    def _write_count(self, name: str, level: int, message: str, left_out: int) -> None:
        text = "%d more records like this one were left out: %s"
        first_line = message.strip().partition("\n")[0]
        record = logging.LogRecord(name, level, "", 0, text, (left_out, first_line), None)
        with self._alone():
            self._handler.emit(record)
