"""Ports for servers that keep theirs over a restart: no other test takes them, in whatever process, nor any client."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import TextIO

_held: list[TextIO] = []
"""Locks, one for each port, for as long as this process lives."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens and which is given out once only."""
    folder = Path(gettempdir()) / f"tuningfork-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in _candidates():
        lock = (folder / str(port)).open("w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            # Another test process has it, or a program that is no test.
            lock.close()
        else:
            _held.append(lock)
            return port
    raise OSError("Every port is taken.")


def _candidates() -> Iterator[int]:
    """Ports that the system gives to no client, beginning at another place in each process."""
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    most = first_of_clients if first_of_clients > 20_000 else 65_536
    count = most - 10_000
    begin = os.getpid() * 97 % count
    yield from (10_000 + (begin + each) % count for each in range(count))
