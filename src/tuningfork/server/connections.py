"""Limits HTTP connections: how many there are, and how long the server waits for a client.

Uvicorn reads and writes HTTP. The time limit of bodies is in `api/body_times.py`, where an error can be sent. All other
times in which the server waits for a client are limited here.
"""

import asyncio
import logging
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import h11
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from tuningfork.api.body_times import LEAST_BYTES_PER_SECOND
from tuningfork.dialect.form import WholeAnswer
from tuningfork.server.unread_answers import CountedTransport, Unread, queued_bytes

logger = logging.getLogger(__name__)

ACCEPTED_AT_ONCE = 16
"""The most connections that are accepted at once, before the limit is checked."""

_DESCRIPTORS_FOR_OTHERS = 192
"""The open files that the database (up to three for each of its connections), child processes and artifacts need."""

_REFUSED_AT_ONCE = 16
"""The most connections beyond the limit that get an answer. Further ones are closed without an answer."""

_PATIENCE_UNDER_PRESSURE_SECONDS = 0.05
"""How long a client must have been slow before its connection may be closed in favour of a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The most connections at a time, and for how many seconds the server waits for a client.

    `answer_seconds` is how long a client may leave an answer unread, or read it more slowly than
    `LEAST_BYTES_PER_SECOND`; see `Unread.waiting_since`. `room_seconds` is how long a whole request on a connection
    beyond the limit waits for room before it is refused.
    """

    most: int
    head_seconds: float
    answer_seconds: float
    idle_seconds: float
    room_seconds: float = 0.5


def affordable_connections(wanted: int) -> int:
    """The most connections that the process can have besides its other open files: `wanted`, or fewer.

    If `wanted` needs it, the soft limit of open files is raised, up to the hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _DESCRIPTORS_FOR_OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        except (OSError, ValueError):
            logger.debug("the limit of open files stays at %d", soft)
    if soft == resource.RLIM_INFINITY:
        return wanted
    affordable = soft - min(_DESCRIPTORS_FOR_OTHERS, soft * 5 // 8)
    if affordable < wanted:
        logger.warning(
            "at most %d HTTP connections at a time instead of %d: this process may open %d files; raise the limit "
            "(ulimit -n, LimitNOFILE= of systemd) for more",
            affordable,
            wanted,
            soft,
        )
    return min(wanted, affordable)


class OpenConnections:
    """The HTTP connections of a server, closed when their client is too slow or when there are too many.

    Args:
        limits: the limits.
        refuse: the ASGI application that answers on connections for which there is no room.
        unreadable: the answer to bytes that are not HTTP.
        registry: counts connections.
        clock: the event loop's clock, in seconds.

    """

    def __init__(
        self,
        limits: ConnectionLimits,
        refuse: ASGIApp,
        unreadable: Callable[[], WholeAnswer],
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self.unreadable = unreadable
        self.clock = clock
        self._refuse = refuse
        self._open: set[Connection] = set()
        self._beyond: set[Connection] = set()
        """Those of the open connections that are beyond the limit."""
        self._searched_at = -_PATIENCE_UNDER_PRESSURE_SECONDS
        """When `make_room` was last called."""
        Gauge("tuningfork_http_connections", "HTTP connections that are open.", registry=registry).set_function(
            lambda: float(len(self._open))
        )
        self._closed = Counter(
            "tuningfork_http_connections_closed",
            "HTTP connections that the server closed because their client was slow or idle, or because there were too "
            "many.",
            labelnames=("reason",),
            registry=registry,
        )

    def protocol(
        self,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "Connection":
        """A new connection; uvicorn calls this as it would call the class of its protocol."""
        return Connection(self, config, server_state, app_state, _loop)

    def add(self, connection: "Connection") -> bool:
        """Add a new connection, and close others if there are too many.

        Returns:
            Whether the connection is within the limit. If not, its requests are for `answer_beyond`.

        """
        if len(self._open) >= self.limits.most:
            self.make_room()
        within = len(self._open) < self.limits.most
        if not within:
            if len(self._open) >= self.limits.most + _REFUSED_AT_ONCE:
                self._closed.labels("refused").inc()
                connection.transport.abort()
                return False
            self._beyond.add(connection)
        self._open.add(connection)
        return within

    def discard(self, connection: "Connection") -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._beyond.discard(connection)

    def answer_beyond(self, connection: "Connection", app: ASGIApp) -> ASGIApp:
        """The application for a connection beyond the limit: `app` as soon as there is room, otherwise a refusal.

        A request whose body has not come yet is refused at once, so that slow clients do not take the places of those
        who wait.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if await self._room_for(connection):
                connection.app = app
                await app(scope, receive, send)
            else:
                self._closed.labels("refused").inc()
                await self._refuse(scope, receive, send)

        return answer

    async def _room_for(self, connection: "Connection") -> bool:
        """Whether the connection is within the limit now, or after a short wait."""
        until = self.clock() + self.limits.room_seconds
        while connection in self._beyond and connection.owes_nothing() and self.clock() < until:
            if self.clock() - self._searched_at >= _PATIENCE_UNDER_PRESSURE_SECONDS:
                self.make_room()
            if len(self._open) - len(self._beyond) < self.limits.most:
                self._beyond.discard(connection)
            else:
                await asyncio.sleep(_PATIENCE_UNDER_PRESSURE_SECONDS / 5)
        return connection in self._open and connection not in self._beyond

    def make_room(self) -> None:
        """Close one in 32 of the connections, at least one: those that have waited longest for their client.

        Several are closed at once, since the search takes time that grows with the number of connections.
        """
        now = self._searched_at = self.clock()
        waiting = [(since, connection) for connection in self._open if (since := connection.waiting_since(now))]
        waiting.sort(key=lambda each: each[0])
        for _, connection in waiting[: max(1, self.limits.most // 32)]:
            self._closed.labels("room").inc()
            self.discard(connection)
            connection.end()

    def close_overdue(self) -> None:
        """Close the connections whose client has exceeded a time limit. To be called about once a second."""
        now = self.clock()
        for connection in tuple(self._open):
            reason = connection.overdue(now)
            if reason is not None:
                self._closed.labels(reason).inc()
                connection.end()

    def abort_all(self) -> None:
        """Close every connection at once; data that were not sent are lost."""
        for connection in tuple(self._open):
            connection.transport.abort()


class Connection(H11Protocol):
    """One connection: uvicorn's protocol, which also records since when it waits for its client."""

    def __init__(
        self,
        others: OpenConnections,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._others = others
        self._head_since = others.clock()
        """When the client began to owe a request: at the beginning, or with the first byte after an answer."""
        self._idle_since: float | None = None
        """The end of the last answer, as long as nothing has come since; None at all other times."""
        self._request: object = None
        self._request_since = 0.0
        self._request_bytes = 0
        self._unsent = Unread(bytes_per_second=LEAST_BYTES_PER_SECOND)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection; if there are too many, its requests wait for room, or are refused."""
        self._counted = CountedTransport(transport)
        super().connection_made(cast("asyncio.Transport", self._counted))
        if not self._others.add(self):
            self.app = cast("Any", self._others.answer_beyond(self, cast("ASGIApp", self.app)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection, and stop its timer."""
        self._others.discard(self)
        super().connection_lost(exc)
        # Uvicorn stops the keep-alive timer only if the connection ended without an error.
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Process data from the client."""
        now = self._others.clock()
        if self._idle_since is not None:
            self._idle_since, self._head_since = None, now
        super().data_received(data)
        if self.cycle is not self._request:
            self._request, self._request_since, self._request_bytes = self.cycle, now, 0
        self._request_bytes += len(data)

    def on_response_complete(self) -> None:
        """Wait for the next request, or begin with it if the client has sent it already."""
        answered, now = self.cycle, self._others.clock()
        self._idle_since = now
        super().on_response_complete()
        if self.cycle is not answered:
            self._idle_since = None
            self._request, self._request_since, self._request_bytes = self.cycle, now, len(self.cycle.body)
        elif self._owes_head() and self.conn.trailing_data[0]:
            # The beginning of a head has come.
            self._idle_since, self._head_since = None, now

    def pause_writing(self) -> None:
        """Make the application wait, since the client reads its answer more slowly than it is written."""
        super().pause_writing()
        self._look()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, which are not the API's
        """Answer bytes that are not HTTP, if no answer has begun, and close the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            # So that the application does not answer too.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = self._others.unreadable()
            self._write(h11.Response(status_code=answer.status, headers=_headers(answer), reason=b"Bad Request"))
            self._write(h11.Data(data=answer.body))
            self._write(h11.EndOfMessage())
        self.transport.close()

    def owes_nothing(self) -> bool:
        """Whether the request that is being answered has come as a whole."""
        return self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)

    def waiting_since(self, now: float) -> float | None:
        """Since when the server has been waiting for the client; None if it is not.

        While a client sends its body or reads its answer at more than the least rate, the server does not wait for it.
        """
        self._look()
        patient_until = now - _PATIENCE_UNDER_PRESSURE_SECONDS
        if self._unsent.size:
            since = self._unsent.waiting_since
            return since if since < patient_until else None
        if self._idle_since is not None:
            return self._idle_since
        if self._owes_head():
            return self._head_since
        if self._owes_body() and not self._forbids_body() and self._request_since < patient_until:
            is_slow = self._request_bytes < LEAST_BYTES_PER_SECOND * (now - self._request_since)
            return self._request_since if is_slow else None
        return None

    def overdue(self, now: float) -> str | None:
        """The name of the time limit that the client has exceeded; None if there is none."""
        limits = self._others.limits
        self._look()
        if self._unsent.size:
            return "answer" if now - self._unsent.waiting_since > limits.answer_seconds else None
        if self._idle_since is not None:
            # This also closes the connection of a client that never ends a body which is not read any more.
            return "idle" if now - self._idle_since > limits.idle_seconds else None
        if self._owes_head() or (self._owes_body() and self.cycle.response_complete):
            return "head" if now - self._head_since > limits.head_seconds else None
        return None

    def end(self) -> None:
        """Close the connection, whatever state it is in."""
        if self.transport.get_write_buffer_size():
            # An orderly close would wait until the client has read the rest of the answer.
            self.transport.abort()
        else:
            self.transport.close()

    def _look(self) -> None:
        now = self._others.clock()
        size, written = self.transport.get_write_buffer_size(), self._counted.written
        self._unsent.look(size, lambda: queued_bytes(self.transport), written, now)
        if self._forbids_body():
            # The client owes its body only from the time when it may send it.
            self._request_since = now

    def _owes_head(self) -> bool:
        return self.conn.their_state is h11.IDLE

    def _owes_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused

    def _forbids_body(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends its body."""
        return self.cycle is not None and self.cycle.waiting_for_100_continue

    def _write(self, event: Any) -> None:
        self.transport.write(cast("bytes", self.conn.send(event)))


def _headers(answer: WholeAnswer) -> list[tuple[str, str]]:
    own: Mapping[str, str] = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body)),
        "connection": "close",
    }
    return [*answer.headers.items(), *own.items()]
