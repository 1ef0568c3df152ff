"""Measures what clients have not read of their answers yet, and how fast they read."""

import array
import asyncio
import fcntl
import socket
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class CountedTransport:
    """A transport that counts the bytes that are written to it; in all else it is the one that it is made of."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, and count."""
        self.written += len(data)
        self._transport.write(data)


@dataclass(slots=True, kw_only=True)
class Unread:
    """The part of the answers that is in the server's memory since the client does not read it.

    A client must take `bytes_per_second`. What its machine has received counts as taken. What the system has accepted
    from this process and not sent yet does not, and what is written meanwhile does not hide what is taken.

    Attributes:
        bytes_per_second: the least rate.
        size: the bytes that wait in this process.
        waiting_since: since when the server has been waiting for the client. It is the time when bytes began to wait,
            and moves by one second for every `bytes_per_second` bytes that are taken, at most to the present. So bytes
            that were taken quickly, such as those that fill the buffers of the client's machine, earn no time that the
            client may use later.
        taken: the bytes that were taken since bytes began to wait.

    """

    bytes_per_second: float
    size: int = 0
    waiting_since: float = 0.0
    taken: int = 0
    _queued: int = 0
    _written: int = 0

    def look(self, size: int, queued: Callable[[], int], written: int, now: float) -> None:
        """Update the numbers.

        Args:
            size: the bytes that wait in this process.
            queued: returns the bytes that wait in the system; asked only if there are bytes in this process.
            written: all bytes that were ever written to the connection.
            now: the time in seconds.

        """
        waiting = queued() if size else 0
        if self.size == 0:
            self.waiting_since, self.taken = now, 0
        elif size:
            before = self.size + self._queued + (written - self._written)
            taken = max(0, before - size - waiting)
            self.taken += taken
            self.waiting_since = min(now, self.waiting_since + taken / self.bytes_per_second)
        self.size, self._queued, self._written = size, waiting, written


def queued_bytes(transport: asyncio.Transport) -> int:
    """The bytes that the system keeps for this connection since the client's machine has not confirmed them.

    0 where the system does not tell.
    """
    found: socket.socket | None = transport.get_extra_info("socket")
    if found is None:
        return 0
    number = array.array("i", [0])
    try:
        fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, number)
    except OSError:
        return 0
    return number[0]
