"""The dialect's methods carried over HTTP: a request in, one call of a method, an answer out."""

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.calls import Call
from tuningfork.api.disconnects import while_connected
from tuningfork.api.streaming import stream
from tuningfork.dialect.call import Awaited, Binding, Direct, MethodCall, Streamed
from tuningfork.dialect.gate import Gate
from tuningfork.domain.errors import BaseModelNotFound

Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint_of(binding: Binding, gate: Gate, version: str) -> Endpoint:
    """What answers requests for this method under this version of the API."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request)
        except BaseModelNotFound as error:
            raise error.in_version(version) from error

    async def answer(request: Request) -> Response:
        call = await Call.of(request, gate, binding.method)
        carried = MethodCall(
            principal=call.principal,
            path=request.path_params,
            query=call.query,
            body=call.body,
            version=version,
            client=request.headers.get("x-goog-api-client", ""),
        )
        match binding.answered:
            case Direct(work):
                options = call.options.without_sse()
                return await run_in_threadpool(lambda: options.response(work(carried)))
            case Awaited(awaited_work):
                options = call.options.without_sse()
                message = await while_connected(request.receive, awaited_work(carried))
                return await run_in_threadpool(options.response, message)
            case Streamed(begin):
                return stream(await while_connected(request.receive, begin(carried)), call.options)

    # By this name the requests are counted.
    endpoint.__name__ = binding.method.name.lower()
    return endpoint
