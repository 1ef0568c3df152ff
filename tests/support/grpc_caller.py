"""Somebody who calls over gRPC, with the clients that Google generates, a server whose root they trust."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.ai import generativelanguage_v1beta as api
from google.ai.generativelanguage_v1beta.services.generative_service.transports import GenerativeServiceGrpcTransport
from google.ai.generativelanguage_v1beta.services.model_service.transports import ModelServiceGrpcTransport
from google.ai.generativelanguage_v1beta.services.permission_service.transports import PermissionServiceGrpcTransport
from google.ai.generativelanguage_v1beta.services.text_service.transports import TextServiceGrpcTransport
from google.api_core.operations_v1 import OperationsClient
from google.rpc import error_details_pb2, status_pb2

from patience import PATIENCE_SECONDS

DETAILS = (
    error_details_pb2.BadRequest,
    error_details_pb2.ErrorInfo,
    error_details_pb2.Help,
    error_details_pb2.LocalizedMessage,
    error_details_pb2.QuotaFailure,
    error_details_pb2.RetryInfo,
)


class LoopThread:
    """An event loop in a thread of its own, as a server has one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc-server")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do it there, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@dataclass(frozen=True, slots=True)
class GrpcCaller:
    """Clients of every service over one channel, and a raw way in for what they cannot say."""

    channel: grpc.Channel
    models: api.ModelServiceClient
    generative: api.GenerativeServiceClient
    permissions: api.PermissionServiceClient
    texts: api.TextServiceClient
    operations: OperationsClient

    def raw(self, method: str, request: bytes = b"", **options: Any) -> bytes:
        """Bytes to an rpc of any name, bytes back."""
        return self.channel.unary_unary(method)(request, **options)


@contextmanager
def calling(port: int, root: bytes, *metadata: tuple[str, str], host: str = "localhost") -> Iterator[GrpcCaller]:
    """A caller who sends this metadata with every call."""
    credentials = grpc.ssl_channel_credentials(root)
    with grpc.secure_channel(f"{host}:{port}", credentials) as secure:
        channel = grpc.intercept_channel(secure, _Sending(metadata))
        yield GrpcCaller(
            channel,
            api.ModelServiceClient(transport=ModelServiceGrpcTransport(channel=channel)),
            api.GenerativeServiceClient(transport=GenerativeServiceGrpcTransport(channel=channel)),
            api.PermissionServiceClient(transport=PermissionServiceGrpcTransport(channel=channel)),
            api.TextServiceClient(transport=TextServiceGrpcTransport(channel=channel)),
            OperationsClient(channel),
        )


def details_of(error: grpc.RpcError) -> list[Any]:
    """The details in the trailers of an error, each as its own message."""
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return [_unpacked(detail) for detail in status.details]


def _unpacked(detail: Any) -> Any:
    [kind] = [kind for kind in DETAILS if detail.Is(kind.DESCRIPTOR)]
    message = kind()
    detail.Unpack(message)
    return message


_CLIENTS_OWN_SECONDS = 60


def _patient(timeout: float | None) -> float | None:
    """The clients' own limit of a minute is short where a base has to be loaded first; a test's own limit stays."""
    return timeout if timeout is None or timeout < _CLIENTS_OWN_SECONDS else max(timeout, PATIENCE_SECONDS)


class _Sending(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_metadata(details), request)

    intercept_unary_stream = intercept_unary_unary

    def _with_metadata(self, details):
        return _Details(
            details.method,
            _patient(details.timeout),
            [*(details.metadata or ()), *self._metadata],
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any
