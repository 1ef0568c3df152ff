"""The gRPC server: bound and started in one step, in the event loop of the HTTP server, and stopped with it."""

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
from tuningfork.wire.proto_json.text import MAX_PAYLOAD_BYTES

logger = logging.getLogger(__name__)

_OPTIONS = (
    # As over HTTP.
    ("grpc.max_receive_message_length", MAX_PAYLOAD_BYTES),
    # Of one connection; further ones wait in the client.
    ("grpc.max_concurrent_streams", 100),
    # Two servers on one port would each get some of the calls.
    ("grpc.so_reuseport", 0),
)
_THREADS = 40
"""As many as HTTP has. Its own, so that calls over one wait for no calls over the other."""

_MOST_CALLS = 1_000
"""Of all connections together; further ones are answered RESOURCE_EXHAUSTED."""


class CannotListen(Exception):
    """The port is taken, or the address is none of this machine's."""


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """A server that takes calls.

    `port` is the one that was given, or the free one that was found; `root_file` what callers have to trust, None
    where the operator brought the certificate.
    """

    port: int
    root_file: Path | None
    _server: grpc.aio.Server
    _threads: ThreadPoolExecutor

    @classmethod
    async def start(
        cls,
        bindings: Iterable[Binding],
        gate: Gate,
        registry: CollectorRegistry,
        certificate: ServerCertificate,
        *,
        host: str,
        port: int,
    ) -> "GrpcServer":
        """Listen, and answer from now on in this event loop.

        Args:
            bindings: the methods to serve.
            gate: decides who comes in.
            registry: counts how long calls take.
            certificate: what the server shows to its callers.
            host: address to listen on.
            port: port to listen on; 0 takes a free one.

        Raises:
            CannotListen: nothing can be bound to this address.

        """
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
        carrier = Carrier(bindings, gate, threads, registry)
        server = grpc.aio.server(handlers=(carrier,), options=_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
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
        """Take no more calls, and wait so long for those that are open; then they are cancelled."""
        await self._server.stop(grace_seconds)
        self._threads.shutdown(wait=False)
