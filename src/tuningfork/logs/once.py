"""Keeps one lasting fault, which every request meets, from being logged for every request."""

import threading
import time
from collections.abc import Callable

AGAIN_SECONDS = 600.0
"""After this time a text is new again, so that a fault that lasts is seen in recent parts of the log too."""

_MOST = 1_000


class Once:
    """Tells texts that are new from those that it was asked about lately. Thread-safe.

    Args:
        monotonic: a monotonic clock, in seconds.

    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}

    def is_new(self, text: str) -> bool:
        """Whether this text was not asked about for `AGAIN_SECONDS`; from now on it is not new."""
        with self._lock:
            now = self._monotonic()
            told = self._told.get(text)
            if told is not None and now - told < AGAIN_SECONDS:
                return False
            if len(self._told) >= _MOST:
                self._told.clear()
            self._told[text] = now
            return True
