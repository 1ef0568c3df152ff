"""The gRPC server. It runs in the event loop of the HTTP server, and is started and stopped with it."""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry

from tuningfork.dialect.call import Binding
from tuningfork.dialect.gate import Gate
from tuningfork.grpc_server.carrying import Carrier
from tuningfork.grpc_server.certificates import ServerCertificate
from tuningfork.grpc_server.shares import Shares
from tuningfork.wire.google.errors import ErrorWords
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES

logger = logging.getLogger(__name__)

_OPTIONS = (
    # The same limit as for HTTP bodies.
    ("grpc.max_receive_message_length", MAX_PAYLOAD_BYTES),
    # Calls of one connection; the client queues further calls.
    ("grpc.max_concurrent_streams", 100),
    # Otherwise two servers could listen on one port, and each would get some of the calls.
    ("grpc.so_reuseport", 0),
    # A connection without calls, or in the middle of its TLS handshake, holds a descriptor.
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A caller that is gone without a word is noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
_THREADS = 40
"""The number of threads, the same as for HTTP. They are separate, so that gRPC calls never wait for HTTP calls."""

_MOST_CALLS = 1_000
"""The most calls at a time, over all connections. Further calls are answered RESOURCE_EXHAUSTED."""

_MOST_CALLS_OF_AN_ADDRESS = _MOST_CALLS // 2
"""Half of them, so that calls from one address leave room for calls from another."""

_MESSAGE_SECONDS = 10.0
"""How long a caller may take to send the request message of a call, while many calls are open."""

_LARGE_MESSAGE_SECONDS = _MESSAGE_SECONDS + MAX_PAYLOAD_BYTES / 2**16
"""The same while few calls are open: a second more for each 64 KiB of the largest message, which is 138 seconds. How
much of a message has come is not known before the whole message has come."""


class CannotListen(Exception):
    """The port is in use, or this machine does not have the address."""


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """A running gRPC server.

    `port` is the port that it listens on. `root_file` holds the root certificate that callers have to trust; None if
    the operator provided the certificate.
    """

    port: int
    root_file: Path | None
    _server: grpc.aio.Server
    _threads: ThreadPoolExecutor

    @classmethod
    async def start(
        cls,
        bindings: Iterable[Binding[Typed]],
        words: ErrorWords,
        gate: Gate,
        registry: CollectorRegistry,
        certificate: ServerCertificate,
        *,
        host: str,
        port: int,
        most_connections: int = 1_000,
        most_calls_of_an_address: int = _MOST_CALLS_OF_AN_ADDRESS,
        message_seconds: float = _MESSAGE_SECONDS,
        large_message_seconds: float = _LARGE_MESSAGE_SECONDS,
    ) -> "GrpcServer":
        """Start a server that listens and answers in this event loop.

        Args:
            bindings: the methods to serve.
            words: the texts of the API's errors.
            gate: authenticates callers, and checks scopes and quotas.
            registry: records how long calls take.
            certificate: the certificate that the server presents.
            host: address to listen on.
            port: port to listen on; 0 takes a free one.
            most_connections: further connections are closed at once.
            most_calls_of_an_address: further calls are answered RESOURCE_EXHAUSTED.
            message_seconds: how long a caller may take to send the request message of a call.
            large_message_seconds: the same while few calls are open (`Shares.place`).

        Raises:
            CannotListen: the address and port cannot be bound.

        """
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
        shares = Shares(most_calls_of_an_address)
        carrier = Carrier(
            *(bindings, words, gate, threads, registry),
            shares=shares,
            message_seconds=message_seconds,
            large_message_seconds=large_message_seconds,
        )
        options = (*_OPTIONS, ("grpc.max_allowed_incoming_connections", most_connections))
        server = grpc.aio.server(handlers=(carrier,), options=options, maximum_concurrent_rpcs=_MOST_CALLS)
        credentials = grpc.ssl_server_credentials([(certificate.private_key, certificate.chain)])
        shown_host = f"[{host}]" if ":" in host else host
        try:
            bound = server.add_secure_port(f"{shown_host}:{port}", credentials)
        except RuntimeError as error:
            raise CannotListen(
                f"gRPC cannot listen on {host}:{port}, which is taken or none of this machine's; choose another with "
                "--host or --grpc-port (0: any free one)"
            ) from error
        await server.start()
        return cls(bound, certificate.root_file, server, threads)

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Refuse new calls, wait `grace_seconds` for open calls, then cancel them."""
        await self._server.stop(grace_seconds)
        self._threads.shutdown(wait=False)
