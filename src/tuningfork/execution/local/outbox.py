"""Sends messages to a worker from a separate thread, so that no caller waits for a worker that does not read."""

import collections
import logging
import threading
from multiprocessing.connection import Connection

logger = logging.getLogger(__name__)

MOST_BYTES = 64 * 2**20
"""The most bytes of messages that wait to be written. A larger message is accepted if no other waits."""

_OVERHEAD_BYTES = 100
"""Added to each message's length in bytes, so that the number of short messages is limited too."""


class Outbox:
    """Writes messages to a pipe in order, on a separate thread. Thread-safe; only `join` waits.

    Args:
        pipe: the pipe, to which nothing else writes.
        name: the thread's name.
        most_bytes: how many bytes may wait.

    """

    def __init__(self, pipe: Connection, *, name: str, most_bytes: int = MOST_BYTES) -> None:
        self._pipe = pipe
        self._most_bytes = most_bytes
        self._waiting: collections.deque[bytes] = collections.deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name=name, daemon=True)
        self._thread.start()

    def put(self, message: bytes, *, always: bool = False) -> bool:
        """Queue a message. Returns False, and drops it, if too many bytes wait already and `always` is not set.

        Once the pipe is closed, messages are dropped silently.
        """
        size = len(message) + _OVERHEAD_BYTES
        with self._changed:
            if self._closed:
                return True
            if self._waiting and self._bytes + size > self._most_bytes and not always:
                return False
            self._waiting.append(message)
            self._bytes += size
            self._changed.notify()
        return True

    def close(self) -> None:
        """Drop the waiting messages and let the thread end. A write in progress ends when the pipe is shut down."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, for at most this long."""
        self._thread.join(seconds)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                # The message stays in the queue, and is counted, until it has been written.
                message = self._waiting[0]
            try:
                self._pipe.send_bytes(message)
            except OSError:
                # The worker is dead or is being closed; `Child` reports that.
                logger.debug("message to a dead worker dropped", extra={"action": "send_failed"})
                self.close()
                return
            with self._changed:
                if not self._closed:
                    self._waiting.popleft()
                    self._bytes -= len(message) + _OVERHEAD_BYTES
