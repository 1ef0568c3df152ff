"""A cache of results read from the database, valid until somebody writes to the database.

Every request needs to know who calls and which model is asked, and this seldom changes. Reading it from the cache needs
no thread, transaction or query. The cache is never out of date: any commit, by this process or another, changes the
database's version, and results read at another version are not used.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tuningfork.store.database import Database

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST = 10_000
"""The most cached results. When there are more, all are dropped, and each is read again when it is needed."""


class Remembered(Generic[Key, Value]):
    """A cache of results read from the database, by key. Thread-safe."""

    def __init__(self, database: Database, *, most: int = MOST) -> None:
        self._database = database
        self._most = most
        self._lock = threading.Lock()
        self._version: int | None = None
        self._answers: dict[Key, Value] = {}

    def find(self, key: Key) -> Value | None:
        """The result for this key, if it is cached and still valid; else None. Does not block."""
        version = self._database.version()
        with self._lock:
            return self._answers.get(key) if version is not None and version == self._version else None

    def of(self, key: Key, read: Callable[[], Value]) -> Value:
        """The result for this key, from the cache or else from `read`. An error of `read` is not cached."""
        if (known := self.find(key)) is not None:
            return known
        # The version is taken before reading. If a commit comes between, the result is newer than the version, which is
        # harmless; it is never older.
        version = self._database.version()
        answer = read()
        if version is not None:
            with self._lock:
                if version != self._version or len(self._answers) >= self._most:
                    self._answers = {}
                    self._version = version
                self._answers[key] = answer
        return answer
