"""Serves a dialect's methods over HTTP: reads a request, calls the method, writes the answer in the dialect's form."""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.body import IncomingBody, drain, read_body
from tuningfork.api.browsers import check_local_program
from tuningfork.api.disconnects import StreamedResponse, while_connected
from tuningfork.api.mounts import head_of, streamed_response, whole_response
from tuningfork.api.request_records import access_of
from tuningfork.api.stopping import Stopping
from tuningfork.api.tags import tagged
from tuningfork.dialect.call import (
    Answered,
    Awaited,
    Binding,
    BodyStream,
    Direct,
    Download,
    Downloaded,
    DownloadedIfAsked,
    Fed,
    MessageStream,
    MethodCall,
    OneMessage,
    Rendered,
    Streamed,
    StreamedIfAsked,
)
from tuningfork.dialect.faults import public_error
from tuningfork.dialect.form import Form, RequestHead, Writer
from tuningfork.dialect.gate import Gate, SentCredential
from tuningfork.dialect.method import Method
from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.permission import Principal
from tuningfork.logs.access import key_of

Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint_of(
    binding: Binding[Rendered],
    form: Form[Rendered],
    gate: Gate,
    stopping: Stopping,
    version: str,
    origins: Collection[str] = (),
) -> Endpoint:
    """What answers requests for this method.

    Args:
        binding: the method, and how it is answered.
        form: how requests are read and answers are written.
        gate: decides who comes in.
        stopping: ends streams when the server stops.
        version: the API version that the method is asked under.
        origins: those whose web pages may call even without a credential, where the gate lets in who has none.

    """

    async def endpoint(request: Request) -> Response:
        head = head_of(request.scope)
        try:
            response = await answer(request, head)
        except TuningforkError as error:
            return whole_response(form.error(public_error(error), head, version=version))
        if binding.secret:
            response.headers["cache-control"] = "no-store"
        return tagged(response, head.headers) if binding.tagged else response

    async def answer(request: Request, head: RequestHead) -> Response:
        credential = form.credential(head)
        if credential is None and binding.method in gate.open_methods:
            check_local_program(head, origins)
        principal = await _admitted(request, credential, gate, binding.method)
        writer = form.writer(head)
        is_fed = isinstance(binding.answered, Fed)
        call = MethodCall(
            principal=principal,
            path=request.path_params,
            query=form.parameters(head),
            body=b"" if is_fed else await read_body(request, form.most_body_bytes),
            version=version,
            client=form.client(head),
            wants=writer.wants,
            headers=head.headers,
            origin=head.origin,
            repeated=head.repeated,
        )
        return await _answer(request, call, binding.answered, writer, stopping)

    # The metrics count requests by the endpoint's name.
    endpoint.__name__ = binding.name
    return endpoint


async def _admitted(request: Request, credential: SentCredential | None, gate: Gate, method: Method) -> Principal:
    """The caller. Credentials are checked before the body is read, so that a stranger cannot send megabytes to parse.

    Raises:
        TuningforkError: the caller is unknown or may not call this method.

    """
    access = access_of(request)
    try:
        principal = await gate.admit_without_waiting(credential, method, run_in_threadpool, access.remote)
    except TuningforkError:
        await drain(request.stream())
        raise
    access.key = key_of(principal.credential)
    return principal


async def _answer(
    request: Request, call: MethodCall, answered: Answered[Rendered], writer: Writer[Rendered], stopping: Stopping
) -> Response:
    match answered:
        case Streamed(begin):
            return _streamed(await while_connected(request.receive, begin(call)), writer, stopping)
        case StreamedIfAsked(begin_as_asked):
            return await _begun(await while_connected(request.receive, begin_as_asked(call)), writer, stopping)
        case Downloaded(open_file) | DownloadedIfAsked(open_file):
            return _opened(await run_in_threadpool(open_file, call), writer)
        case Fed(take, most_bytes):
            return await _fed(request, writer, take, call, most_bytes)
        case Direct(work):
            writer.check_one_message()
            return await run_in_threadpool(lambda: whole_response(writer.whole(work(call))))
        case Awaited(awaited_work):
            writer.check_one_message()
            message = await while_connected(request.receive, awaited_work(call))
            return await run_in_threadpool(lambda: whole_response(writer.whole(message)))


async def _begun(
    begun: OneMessage[Rendered] | MessageStream[Rendered], writer: Writer[Rendered], stopping: Stopping
) -> Response:
    if isinstance(begun, OneMessage):
        message = begun.message
        return await run_in_threadpool(lambda: whole_response(writer.whole(message)))
    return _streamed(begun, writer, stopping)


def _streamed(messages: MessageStream[Rendered], writer: Writer[Rendered], stopping: Stopping) -> Response:
    return streamed_response(writer.streamed(stopping.until_begun(messages)))


async def _fed(
    request: Request,
    writer: Writer[Rendered],
    take: Callable[[MethodCall, BodyStream], Coroutine[Any, Any, Rendered]],
    call: MethodCall,
    most_bytes: int,
) -> Response:
    """The answer of a method that reads the body piece by piece.

    The method is cancelled if the caller leaves. While the body arrives, reading its next piece shows that; after the
    body, the next message of the connection does.
    """
    body = IncomingBody(request, most_bytes)
    try:
        writer.check_one_message()
        body.check_head()
        message = await while_connected(body.receive_after_body, take(call, body))
    except Exception:
        await body.drain()
        raise
    await body.drain()
    return whole_response(writer.whole(message))


def _opened(opened: Download | OneMessage[Rendered], writer: Writer[Rendered]) -> Response:
    return _download(opened) if isinstance(opened, Download) else whole_response(writer.whole(opened.message))


def _download(download: Download) -> Response:
    headers = {
        **download.headers,
        "content-type": download.content_type,
        "content-length": str(download.size),
    }
    if download.filename:
        headers["content-disposition"] = f'attachment; filename="{download.filename}"'
    return StreamedResponse(download.pieces, headers, download.status)
