"""The dialect's methods carried over gRPC: bytes of a request in, one call of a method, bytes of an answer out."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from grpc.aio import ServicerContext
from prometheus_client import CollectorRegistry, Histogram

from tuningfork.dialect.call import Awaited, Binding, Direct, MethodCall, Streamed
from tuningfork.dialect.gate import Gate, Shown
from tuningfork.dialect.gemini.table import VERSIONS
from tuningfork.domain.errors import BaseModelNotFound, TuningforkError, Unimplemented
from tuningfork.domain.method import Method
from tuningfork.domain.permission import Principal
from tuningfork.grpc_server.messages import answer_bytes, body_of, parse_request, path_value, query_of
from tuningfork.grpc_server.refusals import refusal_of
from tuningfork.grpc_server.rpcs import RPCS, Address, Rpc, addresses, find_address

Context = ServicerContext[bytes, bytes]
Result = TypeVar("Result")

# The messages of all versions are the same on the wire, as far as they are served.
_VERSIONED = re.compile(rf"(google\.ai\.generativelanguage)\.({'|'.join(VERSIONS)})\.")
_NEWEST = VERSIONS[0]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


@dataclass(frozen=True, slots=True)
class Served:
    """An rpc in one version of the API, and where it can lead."""

    rpc: Rpc
    addresses: tuple[Address, ...]
    version: str

    def call(self, principal: Principal, request: bytes, client: str) -> tuple[Binding, MethodCall]:
        """The call that a request makes, and the binding that answers it.

        Args:
            principal: who calls.
            request: the request message in its wire form.
            client: what the program calls itself in `x-goog-api-client`.

        Raises:
            InvalidArgument: the request cannot be read, or names no resource.

        """
        message = parse_request(self.rpc, request)
        binding, ids = find_address(self.rpc, self.addresses, path_value(self.rpc, message))
        call = MethodCall(
            principal=principal,
            path=ids,
            query=query_of(self.rpc, message),
            body=body_of(self.rpc, message),
            version=self.version,
            client=client,
        )
        return binding, call


class Carrier(grpc.GenericRpcHandler):
    """Finds what answers an rpc: a method that is bound, or a refusal that names what was called.

    Args:
        bindings: the methods.
        gate: decides who comes in.
        threads: where synchronous work is done.
        registry: counts how long calls take.

    """

    def __init__(self, bindings: Iterable[Binding], gate: Gate, threads: Executor, registry: CollectorRegistry) -> None:
        self._gate = gate
        self._threads = threads
        self._rpcs: Mapping[str, Rpc] = {rpc.method: rpc for rpc in RPCS}
        self._addresses: Mapping[Method, tuple[Address, ...]] = addresses(bindings)
        self._seconds = Histogram(
            "tuningfork_grpc_request_seconds",
            "From a request over gRPC to the end of its answer.",
            labelnames=("method", "code"),
            buckets=_BUCKETS,
            registry=registry,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """What answers the rpc of this name."""
        name = handler_call_details.method.lstrip("/").replace("/", ".")
        versioned = _VERSIONED.match(name)
        rpc = self._rpcs.get(_VERSIONED.sub(rf"\1.{_NEWEST}.", name))
        if rpc is None or rpc.method not in self._addresses:
            return grpc.stream_stream_rpc_method_handler(_refusing(name))
        served = Served(rpc, self._addresses[rpc.method], versioned[2] if versioned else _NEWEST)
        if isinstance(served.addresses[0].binding.answered, Streamed):
            return grpc.unary_stream_rpc_method_handler(self._streaming(served))
        return grpc.unary_unary_rpc_method_handler(self._answering(served))

    def _answering(self, served: Served) -> Callable[[bytes, Context], Any]:
        async def respond(request: bytes, context: Context) -> bytes:
            async with self._telling(served, context):
                binding, call = await self._admitted(served, request, context)
                match binding.answered:
                    case Direct(work):
                        return await self._in_thread(lambda: answer_bytes(work(call)))
                    case Awaited(awaited_work):
                        answer = await awaited_work(call)
                        return await self._in_thread(lambda: answer_bytes(answer))
            raise AssertionError("a method is bound both as a stream and as a single answer")

        return respond

    def _streaming(self, served: Served) -> Callable[[bytes, Context], Any]:
        async def stream(request: bytes, context: Context) -> None:
            async with self._telling(served, context):
                binding, call = await self._admitted(served, request, context)
                assert isinstance(binding.answered, Streamed)  # noqa: S101 - of one method, all are
                messages = await binding.answered.begin(call)
                try:
                    async for message in messages:
                        await context.write(answer_bytes(message))
                finally:
                    await messages.aclose()

        return stream

    async def _admitted(self, served: Served, request: bytes, context: Context) -> tuple[Binding, MethodCall]:
        """Credentials come first, so that a stranger cannot make the server parse megabytes."""
        # Values that are bytes belong to names that end in `-bin`.
        shown = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        credential = Shown.among(key=shown.get("x-goog-api-key"), authorization=shown.get("authorization"))
        method = served.rpc.method
        principal = self._gate.admit_at_once(credential, method)
        if principal is None:
            principal = await self._in_thread(lambda: self._gate.admit(credential, method))
        client = shown.get("x-goog-api-client", "")
        return await self._in_thread(lambda: served.call(principal, request, client))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @asynccontextmanager
    async def _telling(self, served: Served, context: Context) -> AsyncIterator[None]:
        """Take the time of an rpc, and end it with the refusal that any exception makes.

        A caller that leaves, or whose deadline passes, cancels the task that this is in.
        """
        began = time.monotonic()
        code = grpc.StatusCode.CANCELLED
        try:
            yield
            code = grpc.StatusCode.OK
        except Exception as error:  # noqa: BLE001 - logged and told by refusal_of
            refusal = refusal_of(error.in_version(served.version) if isinstance(error, BaseModelNotFound) else error)
            code = refusal.code
            await context.abort(code, refusal.message, refusal.trailers)
        finally:
            self._seconds.labels(served.rpc.method.name.lower(), code.name).observe(time.monotonic() - began)


def _refusing(name: str) -> Callable[[Any, Context], Awaitable[None]]:
    async def refuse(_requests: Any, context: Context) -> None:
        refusal = refusal_of(_unserved(name))
        await context.abort(refusal.code, refusal.message, refusal.trailers)

    return refuse


def _unserved(name: str) -> TuningforkError:
    return Unimplemented(f"{name[:200]} is not a method of this server.")
