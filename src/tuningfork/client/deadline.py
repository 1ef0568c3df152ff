"""A time limit for a whole request, from connecting to the last byte: httpx itself only limits each single wait.

A server that sends a byte now and then, also within its headers, would otherwise keep its caller as long as it likes.
"""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet


class Connections:
    """The open connections of a client, so that a deadline can end them. Pass `extensions` with each request."""

    def __init__(self) -> None:
        self._streams: WeakSet[Any] = WeakSet()

    @property
    def extensions(self) -> dict[str, Any]:
        """What httpx tells about its connections (https://www.python-httpx.org/advanced/extensions/)."""
        return {"trace": self._see}

    def break_off(self) -> None:
        """End all of them, whoever waits for them now."""
        for stream in list(self._streams):
            found = stream.get_extra_info("socket")
            if isinstance(found, socket.socket):
                # Not that of the TLS socket, which would change it under its reader's hands.
                with suppress(OSError):
                    socket.socket.shutdown(found, socket.SHUT_RDWR)

    def _see(self, event: str, told: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._streams.add(told["return_value"])


class Deadline:
    """Ends a client's connections when its time has passed. A context manager: leaving it in time calls it off."""

    def __init__(self, connections: Connections, seconds: float) -> None:
        self._connections = connections
        self._passed = threading.Event()
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    @property
    def has_passed(self) -> bool:
        """Whether the time was up before the context was left."""
        return self._passed.is_set()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self._passed.set()
        self._connections.break_off()
