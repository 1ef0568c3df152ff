"""The ports that a server listens on: HTTP, and gRPC if the settings ask for it."""

import asyncio
import errno
import logging
import math
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from fastapi import FastAPI

from tuningfork.api.app import Services
from tuningfork.api.stopping import Stopping
from tuningfork.dialect.form import Dialect
from tuningfork.server.connections import ACCEPTED_AT_ONCE, OpenConnections
from tuningfork.server.data_directory import StartError, now
from tuningfork.settings import Settings
from tuningfork.wire.gemini.errors import GEMINI_ERRORS
from tuningfork.wire.google.proto_json.encode import Typed

if TYPE_CHECKING:
    # The packages that this module needs come with an extra.
    from tuningfork.grpc_server.serving import GrpcServer

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3
"""How long open calls may take when the server stops, since a stream could otherwise go on for ever."""

_LAST_WORD_SECONDS = 1
"""How long clients then have to take the error that ends their calls."""

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

_BACKLOG = 2048
"""Connections that wait in the system until they are accepted."""


class HttpServer(uvicorn.Server):
    """Uvicorn that keeps its connections within limits, and returns after a signal with every request answered.

    Its own would raise the signal again and end this process on the spot.

    Args:
        app: what answers requests.
        connections: the limits.
        stopping: ends the open requests.
        beside: the gRPC server, which is stopped meanwhile.
        grace_seconds: how long open requests may go on after a signal.

    """

    def __init__(
        self,
        app: FastAPI,
        connections: OpenConnections,
        stopping: Stopping,
        beside: "GrpcServer | None" = None,
        *,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        config = uvicorn.Config(
            app,
            # Uvicorn calls it with the arguments of a protocol's class.
            http=cast("type[asyncio.Protocol]", connections.protocol),
            ws="none",
            # To asyncio this is also the number of connections that it accepts before it does anything else.
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=math.ceil(connections.limits.idle_seconds),
            # Uvicorn's logs go through this process's handler, in one format.
            log_config=None,
            # It would write API keys down that come as `?key=`.
            access_log=False,
            # Only for requests that outlive `Stopping`, such as one that waits for a thread.
            timeout_graceful_shutdown=math.ceil(grace_seconds + 2 * _LAST_WORD_SECONDS),
        )
        super().__init__(config)
        self._connections = connections
        self._stopping = stopping
        self._beside = beside
        self._grace_seconds = grace_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        asyncio.get_running_loop().set_exception_handler(self._on_fault)
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; closes the connections of slow clients once a second."""
        if counter % 10 == 0:
            self._connections.close_overdue()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop the server; after a second signal it does not wait for open calls."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and wait a while for those that are open; then end them with an error."""
        self._stopping.announced = True
        ending = asyncio.ensure_future(self._end_requests())
        stopping = [super().shutdown(sockets)]
        if self._beside is not None:
            stopping.append(self._beside.stop(self._grace_seconds))
        try:
            await asyncio.gather(*stopping)
        finally:
            ending.cancel()

    async def _end_requests(self) -> None:
        await asyncio.sleep(self._grace_seconds)
        await self._stopping.end_requests(_LAST_WORD_SECONDS)
        self._connections.abort_all()

    def _on_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what the event loop could not do; where it had no descriptor for a connection, make room."""
        fault = context.get("exception")
        if isinstance(fault, OSError) and fault.errno in _OUT_OF_DESCRIPTORS:
            self._connections.make_room()
            logger.warning("no connection can be accepted (%s); idle ones are closed", fault.strerror)
            return
        # Not by the event loop's own handler, which logs tasks with their arguments, and so with prompts.
        logger.error("%s", context.get("message", "fault"), exc_info=fault, extra={"action": "loop_fault"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcAddress:
    """Where a server listens for gRPC: host and port, and the file with the root certificate that callers must trust.

    There is no such file if the operator provided the certificate.
    """

    target: str
    root_file: Path | None


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, closed at the end of the block; port 0 takes any free one.

    Raises:
        StartError: the address cannot be listened on.

    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with --host or --port (0: any free one)"
        ) from error
    with listener:
        # Accepted connections inherit the option. Without it the second packet of every answer waits 40 ms for the
        # client's acknowledgement of the first. asyncio sets it only for sockets with an explicit protocol.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def start_grpc(
    settings: Settings, services: Services, dialect: Dialect[Typed], loop: asyncio.Runner, most_connections: int
) -> "GrpcServer | None":
    """Start serving the methods of the Gemini API over gRPC, if the settings ask for it; else return None.

    Args:
        settings: the port and the certificate.
        services: the gate and the metrics registry, which HTTP uses too.
        dialect: the Gemini API, which alone has protobuf messages here.
        loop: the event loop, which HTTP uses too.
        most_connections: the most connections at a time.

    Raises:
        StartError: its packages are missing, or its port or certificate cannot be used.

    """
    if settings.grpc_port is None:
        return None
    try:
        from tuningfork.grpc_server import certificates, serving  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartError(
            f"gRPC needs the package {error.name}, which is not installed; get it with "
            "pip install 'tuningfork[grpc]', or leave out --grpc-port"
        ) from error
    try:
        if settings.grpc_certificate and settings.grpc_private_key:
            certificate = certificates.operators_certificate(settings.grpc_certificate, settings.grpc_private_key)
        else:
            hosts = certificates.usual_hosts(settings.host)
            certificate = certificates.own_certificate(settings.data_dir / "tls", hosts, now())
        starting = serving.GrpcServer.start(
            dialect.bindings,
            GEMINI_ERRORS,
            services.gate,
            services.registry,
            certificate,
            host=settings.host,
            port=settings.grpc_port,
            most_connections=most_connections,
        )
        return loop.run(starting)
    except (certificates.CertificateError, serving.CannotListen) as error:
        raise StartError(str(error)) from error


def grpc_address(host: str, grpc: "GrpcServer") -> GrpcAddress:
    """Where callers reach a gRPC server that listens on this host."""
    # The certificate is for names of this machine, not for the wildcard address.
    known = "localhost" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not listened on
    return GrpcAddress(target=host_and_port(known, grpc.port), root_file=grpc.root_file)


def host_and_port(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
