"""Who may write to the database, and how long a writer waits: threads of this process take turns.

SQLite has one writer at a time, in this process or another. PostgreSQL has many, which may wait for each other's locks.
Writers that wait must not hold up those who read: so of requests only a few wait at a time, and not for long; the
others are told to come back.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from tuningfork.domain.errors import Busy

_RETRY_SECONDS = 5.0
_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes have the primary code in their lowest byte (sqlite.org/rescode.html)."""
_TOO_MANY_CONNECTIONS = "53300"
_NO_CONNECTION_LEFT = ("too many clients", "remaining connection slots", "too many connections")
"""What PostgreSQL says of a connection that it refuses; psycopg tells it without the code."""
_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a lock that did not come within `lock_timeout` (PostgreSQL manual, appendix A)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one write waits for other threads, and then for other processes, each at most `seconds`.

    `most_waiting` is how many writes with a limit may wait for other threads at a time; None: no limit.
    """

    seconds: float
    most_waiting: int | None = None


OF_WORK = Patience(seconds=30.0)
"""For the dispatcher, the start and commands: they have nothing to do but wait."""

OF_REQUESTS = Patience(seconds=5.0, most_waiting=8)
"""For requests, whose threads are needed for those who read: there are 40 of them."""


class WriteTurns:
    """The turns of one process's writers, of which `together` may write at a time. Thread-safe.

    Turns come in the order of waiting, so that a thread that writes again and again does not keep the others waiting.
    """

    def __init__(self, *, together: int = 1) -> None:
        self._writing = _InOrder(together)
        self._counting = threading.Lock()
        self._requests_waiting = 0

    @property
    def waiting(self) -> int:
        """How many writers wait for their turn."""
        return self._writing.waiting

    @contextmanager
    def turn(self, patience: Patience) -> Iterator[None]:
        """Wait for the turn, which lasts as long as the `with` block.

        Raises:
            Busy: too many writers wait, or the turn did not come in time, or another process held the database.

        """
        with self._waited(patience):
            came = self._writing.acquire(patience.seconds)
        if not came:
            raise _busy()
        try:
            with busy_reported():
                yield
        finally:
            self._writing.release()

    @contextmanager
    def _waited(self, patience: Patience) -> Iterator[None]:
        if patience.most_waiting is None:
            yield
            return
        with self._counting:
            if self._requests_waiting >= patience.most_waiting:
                raise _busy()
            self._requests_waiting += 1
        try:
            yield
        finally:
            with self._counting:
                self._requests_waiting -= 1


class _InOrder:
    """A semaphore that is given to the thread that has waited longest; those of `threading` are given to any."""

    def __init__(self, free: int) -> None:
        self._lock = threading.Lock()
        self._free = free
        self._waiting: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """How many threads wait."""
        return len(self._waiting)

    def acquire(self, timeout_seconds: float) -> bool:
        """Whether it was given to this thread within this time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            given = threading.Event()
            self._waiting.append(given)
        if given.wait(timeout_seconds):
            return True
        with self._lock:
            # It may have been given since.
            if given in self._waiting:
                self._waiting.remove(given)
                return False
        return True

    def release(self) -> None:
        """Give it to the thread that has waited longest; if none waits, to the next that asks."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


@contextmanager
def busy_reported() -> Iterator[None]:
    """Within the `with` block, raise `Busy` in place of a database's error that others hold it, or all connections."""
    try:
        yield
    except NoConnection as error:
        raise _busy(_NO_CONNECTION) from error
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        held = code is not None and code & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
        if held or getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise _busy() from error
        if _is_refused(error):
            raise _busy(_NO_CONNECTION) from error
        raise


def _is_refused(error: DBAPIError) -> bool:
    """Whether PostgreSQL had no connection left for this process."""
    if getattr(error.orig, "sqlstate", None) == _TOO_MANY_CONNECTIONS:
        return True
    return isinstance(error, OperationalError) and any(sign in str(error.orig) for sign in _NO_CONNECTION_LEFT)


_HELD = "is held by another writer"
_NO_CONNECTION = "has no connection left"


def _busy(why: str = _HELD) -> Busy:
    return Busy(
        f"The database {why} at the moment, so nothing of this was kept. Send the request again.",
        retry_seconds=_RETRY_SECONDS,
    )
