"""Ends a process that files keep waiting for too long, as those of a network file system or an object store that hangs.

A read that hangs cannot be broken off by the thread that reads, and sometimes by no signal. So another thread looks at
the clock, and ends the process; its server sees why by the exit code.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuningfork.execution.preparation import LineSource

KEPT_WAITING = 75
"""The exit code of a process that files kept waiting: `EX_TEMPFAIL` of sysexits.h."""

BYTES_PER_SECOND = 100_000
"""A file that is read at this rate or faster never keeps a process waiting for too long."""

OPENING_SECONDS = 300.0
"""How long reading what describes a base may take: some megabytes, in tens of files."""

_LOOKS = 10
"""How often the clock is looked at in the time that a file may keep the process waiting."""


class ReadingLimit:
    """Measures how long the process waits for files, and ends it.

    Args:
        patience_seconds: how long the files may keep it waiting in all, besides a second for each `BYTES_PER_SECOND`
            bytes that they have given.
        end: ends the process.
        clock: a monotonic clock in seconds.

    """

    def __init__(
        self,
        patience_seconds: float,
        *,
        end: Callable[[], object] = lambda: os._exit(KEPT_WAITING),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._end = end
        self._clock = clock
        self._bytes = 0
        self._waited_seconds = 0.0
        # The time when the present wait began, and what it may take besides; None: nothing is waited for.
        self._waiting: tuple[float, float] | None = None

    def start(self) -> None:
        """Look at the clock from now on, in a thread of its own."""
        threading.Thread(target=self._look_often, name="reading limit", daemon=True).start()

    @contextmanager
    def opening(self, seconds: float = OPENING_SECONDS) -> Iterator[None]:
        """Let what is done in the `with` block take so many seconds more."""
        self._waiting = (self._clock(), seconds)
        try:
            yield
        finally:
            self._waiting = None

    def lines(self, source: LineSource) -> Iterator[bytes]:
        """The lines of a source, whose waits are measured.

        Raises:
            TuningforkError: as `LineSource.lines`.

        """
        lines = source.lines()
        while True:
            began = self._clock()
            self._waiting = (began, 0.0)
            try:
                line = next(lines)
            except StopIteration:
                return
            finally:
                self._waiting = None
                self._waited_seconds += self._clock() - began
            self._bytes += len(line)
            yield line

    def is_over(self) -> bool:
        """Whether the process has waited for longer than it may."""
        waiting = self._waiting
        if waiting is None:
            return False
        began, further = waiting
        allowed = self._patience_seconds + further + self._bytes / BYTES_PER_SECOND
        return self._waited_seconds + self._clock() - began > allowed

    def _look_often(self) -> None:
        while not self.is_over():
            time.sleep(self._patience_seconds / _LOOKS)
        self._end()


@dataclass(frozen=True, slots=True)
class LimitedSource:
    """Implements `execution.preparation.LineSource`: another source, within a limit."""

    source: LineSource
    limit: ReadingLimit

    def lines(self) -> Iterator[bytes]:
        """See `ReadingLimit.lines`."""
        return self.limit.lines(self.source)
