"""Writes the lines of the log on a thread of its own, so that no request waits for whoever reads the log."""

import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

MOST_BYTES = 4 * 2**20
"""The most bytes of lines that wait to be written: some ten thousand lines of requests."""


class LineWriter:
    """Writes lines to a stream in order. Thread-safe; only `flush` waits.

    Lines that come while too many wait are lost and counted. Once half of the waiting lines have been written, a line
    says how many were lost.

    Args:
        stream: where lines are written. If it is a file, its descriptor is written to, without the stream's buffer:
            a thread that waits for a buffer's reader would keep the process from ending.
        lost_line: the line that says how many lines were lost.
        most_bytes: how many bytes may wait.
        lock: a reentrant lock that guards what waits; None: one of its own. A handler gives its own, since two locks
            could be taken in both orders if an object is collected meanwhile whose end is logged.

    """

    def __init__(
        self,
        stream: TextIO,
        lost_line: Callable[[int], str],
        *,
        most_bytes: int = MOST_BYTES,
        lock: "threading.RLock | None" = None,
    ) -> None:
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        self._lost_line = lost_line
        self._most_bytes = most_bytes
        self._lock = lock
        self._closed = False
        self.begin()
        _WRITERS.add(self)

    def begin(self) -> None:
        """Begin without lines and without a thread, as after a fork: the process before it writes what waits."""
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        # Reentrant, since an object that is collected meanwhile may log.
        self._changed = threading.Condition(self._lock or threading.RLock())
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Queue a line, without its end; drop it if too many bytes wait."""
        encoded = f"{line}\n".encode(errors="backslashreplace")
        with self._changed:
            if self._bytes + len(encoded) > self._most_bytes or (self._lost and not self._tells_lost()):
                self._lost += 1
                # If few lines wait, nothing else would tell: this one is too long.
                self._tells_lost()
                return
            self._append(encoded)

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, for at most this long; returns whether they are."""
        with self._changed:
            if self._bytes and not self._has_thread():
                return False
            return self._changed.wait_for(lambda: not (self._bytes or self._lost), seconds)

    def close(self) -> None:
        """End the thread once it has written what waits; lines that still come are written by another one."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _append(self, encoded: bytes) -> None:
        self._waiting.append(encoded)
        self._bytes += len(encoded)
        if len(self._waiting) == 1:
            self._changed.notify_all()
        self._has_thread()

    def _has_thread(self) -> bool:
        """Start a thread that writes, if there is none; False if the system has none, and the lines wait."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = None
            thread = threading.Thread(target=self._write, name="log", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread
        return self._thread is not None

    def _tells_lost(self) -> bool:
        """Queue the line about lost lines, if at most half of the bytes wait; returns whether it is queued."""
        if 2 * self._bytes > self._most_bytes:
            return False
        lost, self._lost = self._lost, 0
        self._append(f"{self._lost_line(lost)}\n".encode(errors="backslashreplace"))
        return True

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    self._thread = None
                    return
                lines = self._next_lines()
            # If the reader is gone, or the stream is closed, or there never was one, nobody can be told.
            with suppress(Exception):
                self._write_out(lines)
            with self._changed:
                self._bytes -= len(lines)
                if self._lost:
                    self._tells_lost()
                self._changed.notify_all()

    def _next_lines(self) -> bytes:
        """As many of the waiting lines as a pipe takes in one piece, so that lines of other processes do not mix in."""
        lines = [self._waiting.popleft()]
        size = len(lines[0])
        while self._waiting and (size := size + len(self._waiting[0])) <= select.PIPE_BUF:
            lines.append(self._waiting.popleft())
        return b"".join(lines)

    def _write_out(self, lines: bytes) -> None:
        if self._descriptor is None:
            self._stream.write(lines.decode())
            self._stream.flush()
            return
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])


_WRITERS: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def _begin_all() -> None:
    for writer in list(_WRITERS):
        writer.begin()


# A process that is forked has no thread but the one that forked it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)


def _descriptor_of(stream: TextIO) -> int | None:
    """The file descriptor behind the stream; None if there is none."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
