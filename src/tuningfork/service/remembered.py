"""What was read from the database, remembered for as long as nobody has written to it.

Every request asks who calls and what the model is, and the answers seldom change. Here they are known without a
thread, a transaction or a query, and never longer than they are true: any commit, by this process or another, makes
the database's version another one, and then nothing is remembered.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tuningfork.store.database import Database

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST = 10_000
"""So many answers are remembered; then all are forgotten, which costs one reading each."""


class Remembered(Generic[Key, Value]):
    """Answers by their question. Safe for any number of threads."""

    def __init__(self, database: Database, *, most: int = MOST) -> None:
        self._database = database
        self._most = most
        self._lock = threading.Lock()
        self._version: int | None = None
        self._answers: dict[Key, Value] = {}

    def find(self, key: Key) -> Value | None:
        """The answer, if it is known to be true now; does not wait for anything."""
        version = self._database.version()
        with self._lock:
            return self._answers.get(key) if version is not None and version == self._version else None

    def of(self, key: Key, read: Callable[[], Value]) -> Value:
        """The answer, read if it is not known; what `read` raises is not remembered."""
        if (known := self.find(key)) is not None:
            return known
        # Asked before: what is read may be newer than this version, which is harmless, but never older.
        version = self._database.version()
        answer = read()
        if version is not None:
            with self._lock:
                if version != self._version or len(self._answers) >= self._most:
                    self._answers = {}
                    self._version = version
                self._answers[key] = answer
        return answer
