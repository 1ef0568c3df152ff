"""Serves the Gemini API's methods over gRPC: decodes a request, calls the method, encodes the answer."""

import asyncio
import contextvars
import re
import secrets
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
from tuningfork.dialect.gate import Gate, SentCredential
from tuningfork.dialect.gemini.table import VERSIONS
from tuningfork.dialect.method import Method
from tuningfork.domain.errors import DeadlineExceeded, InvalidArgument, TuningforkError, Unimplemented
from tuningfork.domain.permission import Principal
from tuningfork.grpc_server.messages import answer_bytes, body_of, parse_request, path_value, query_of
from tuningfork.grpc_server.refusals import refusal_of
from tuningfork.grpc_server.rpcs import RPCS, Address, Rpc, addresses, find_address
from tuningfork.grpc_server.shares import Shares, address_of
from tuningfork.logs.access import Access, key_of, log_access
from tuningfork.logs.request_ids import HEADER, current_request, request_id
from tuningfork.wire.google.errors import ErrorWords
from tuningfork.wire.google.proto_json.encode import Typed

Context = ServicerContext[bytes, bytes]
Result = TypeVar("Result")

# The fields that this server serves have the same numbers and types in all versions of the API.
_VERSIONED = re.compile(rf"(google\.ai\.generativelanguage)\.({'|'.join(VERSIONS)})\.")
_NEWEST = VERSIONS[0]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


@dataclass(frozen=True, slots=True)
class Served:
    """An rpc in one version of the API, and the bindings that can answer it."""

    rpc: Rpc
    addresses: tuple[Address, ...]
    version: str

    def call(self, principal: Principal, request: bytes, client: str) -> tuple[Binding[Typed], MethodCall]:
        """The call that a request makes, and the binding that answers it.

        Args:
            principal: the caller.
            request: the serialized request message.
            client: the program's name in `x-goog-api-client`.

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
    """Finds the handler of an rpc: that of a method, or one that refuses the rpc and names it.

    Args:
        bindings: the methods.
        words: the texts of the API's errors.
        gate: authenticates callers, and checks scopes and quotas.
        threads: run synchronous work.
        registry: records how long calls take.
        shares: bounds the calls of one address.
        message_seconds: how long a caller may take to send the request message, once it is let in.
        large_message_seconds: the same while few calls are open (`Shares.place`).

    """

    def __init__(
        self,
        bindings: Iterable[Binding[Typed]],
        words: ErrorWords,
        gate: Gate,
        threads: Executor,
        registry: CollectorRegistry,
        *,
        shares: Shares,
        message_seconds: float,
        large_message_seconds: float,
    ) -> None:
        self._words = words
        self._gate = gate
        self._threads = threads
        self._shares = shares
        self._message_seconds = message_seconds
        self._large_message_seconds = large_message_seconds
        self._rpcs: Mapping[str, Rpc] = {rpc.method.full_name: rpc for rpc in RPCS}
        self._addresses: Mapping[Method, tuple[Address, ...]] = addresses(bindings)
        self._seconds = Histogram(
            "tuningfork_grpc_request_seconds",
            "From a request over gRPC to the end of its answer.",
            labelnames=("method", "code"),
            buckets=_BUCKETS,
            registry=registry,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """The handler of the rpc with this name."""
        name = handler_call_details.method.lstrip("/").replace("/", ".")
        versioned = _VERSIONED.match(name)
        rpc = self._rpcs.get(_VERSIONED.sub(rf"\1.{_NEWEST}.", name))
        if rpc is None or rpc.method not in self._addresses:
            return grpc.stream_stream_rpc_method_handler(_refusing(name, self._words))
        served = Served(rpc, self._addresses[rpc.method], versioned[2] if versioned else _NEWEST)
        # A handler of one request would be called with the message in hand, however late it comes.
        return grpc.stream_stream_rpc_method_handler(self._answering(served))

    def _answering(self, served: Served) -> Callable[[Any, Context], Any]:
        async def respond(_requests: object, context: Context) -> None:
            async with self._telling(served, context) as access:
                principal = await self._admitted(served, context, access.remote)
                access.key = key_of(principal.credential)
                with self._shares.place(context.peer()) as is_quiet:
                    seconds = self._large_message_seconds if is_quiet else self._message_seconds
                    request = await _first_message(context, seconds)
                    binding, call = await self._in_thread(lambda: served.call(principal, request, _client_of(context)))
                    await self._answer(binding, call, context, access)

        return respond

    async def _answer(self, binding: Binding[Typed], call: MethodCall, context: Context, access: Access) -> None:
        match binding.answered:
            case Direct(work):
                await _write(await self._in_thread(lambda: answer_bytes(work(call))), context, access)
            case Awaited(awaited_work):
                answer = await awaited_work(call)
                await _write(await self._in_thread(lambda: answer_bytes(answer)), context, access)
            case Streamed(begin):
                messages = await begin(call)
                try:
                    async for message in messages:
                        await _write(answer_bytes(message), context, access)
                finally:
                    await messages.aclose()
            case other:
                raise AssertionError(f"no rpc is answered as {type(other).__name__}")

    async def _admitted(self, served: Served, context: Context, remote: str) -> Principal:
        """Credentials come first, so that a stranger's call ends before anything is waited for, or parsed."""
        shown = _metadata_of(context)
        credential = SentCredential.among(key=shown.get("x-goog-api-key"), authorization=shown.get("authorization"))
        return await self._gate.admit_without_waiting(credential, served.rpc.method, self._in_thread, remote)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        # With the context of the call, so that the log names the request.
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._threads, run, work)

    @asynccontextmanager
    async def _telling(self, served: Served, context: Context) -> AsyncIterator[Access]:
        """Measure and log an rpc, and end it with the refusal for any exception within the `with` block.

        If the caller leaves or its deadline passes, gRPC cancels the task.
        """
        began = time.monotonic()
        known = request_id(_metadata_of(context).get(HEADER), secrets.randbits)
        current_request.set(known)
        context.set_trailing_metadata(((HEADER, known),))
        access = Access(
            verb="gRPC",
            path=served.rpc.method.full_name,
            remote=address_of(context.peer()),
            route=served.rpc.method.full_name,
            endpoint=served.rpc.method.name.lower(),
            status=grpc.StatusCode.CANCELLED.name,
        )
        try:
            yield access
            access.status = grpc.StatusCode.OK.name
        except Exception as error:  # noqa: BLE001 - refusal_of logs it and words it
            refusal = refusal_of(error, self._words, served.version)
            access.status = refusal.code.name
            await context.abort(refusal.code, refusal.message, (*refusal.trailers, (HEADER, known)))
        finally:
            seconds = time.monotonic() - began
            self._seconds.labels(access.endpoint, access.status).observe(seconds)
            log_access(access, seconds)


def _metadata_of(context: Context) -> dict[str, str]:
    # Values that are bytes belong to names that end in `-bin`.
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}


def _client_of(context: Context) -> str:
    """What the program calls itself."""
    return _metadata_of(context).get("x-goog-api-client", "")


async def _write(answer: bytes, context: Context, access: Access) -> None:
    access.sent_bytes += len(answer)
    await context.write(answer)


async def _first_message(context: Context, seconds: float) -> bytes:
    """The request.

    Raises:
        DeadlineExceeded: it did not come in time.
        InvalidArgument: the caller sent none.

    """
    try:
        message = await asyncio.wait_for(context.read(), seconds)
    except TimeoutError as error:
        raise DeadlineExceeded(f"The request message did not arrive within {seconds:g} seconds.") from error
    if not isinstance(message, bytes):
        raise InvalidArgument("The call has no request message.")
    return message


def _refusing(name: str, words: ErrorWords) -> Callable[[Any, Context], Awaitable[None]]:
    async def refuse(_requests: Any, context: Context) -> None:
        refusal = refusal_of(_unserved(name), words)
        await context.abort(refusal.code, refusal.message, refusal.trailers)

    return refuse


def _unserved(name: str) -> TuningforkError:
    return Unimplemented(f"{name[:200]} is not a method of this server.")
