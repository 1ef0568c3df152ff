"""One call of an API method: who calls, with what, and how the answer is to be written."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.auth import authenticate
from tuningfork.api.body import drain, read_body
from tuningfork.api.options import AnswerOptions, method_parameters
from tuningfork.domain.errors import InvalidArgument, TuningforkError
from tuningfork.domain.permission import Principal
from tuningfork.service.access import Access
from tuningfork.wire.errors import Relocation
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that came in whole, from somebody known."""

    principal: Principal
    query: Mapping[str, str]
    body: bytes
    options: AnswerOptions

    @classmethod
    async def of(cls, request: Request, access: Access, *, require_key: bool) -> "Call":
        """Let a request in.

        Credentials come first, so that a stranger cannot make the server read and parse megabytes.

        Raises:
            TuningforkError: the caller is not known, or the request is too large or cannot be read.

        """
        try:
            principal = await run_in_threadpool(authenticate, access, request, require_key=require_key)
        except TuningforkError:
            await drain(request.stream())
            raise
        return cls(
            principal=principal,
            query=method_parameters(request),
            options=AnswerOptions.of(request),
            body=await read_body(request),
        )

    async def reply(self, work: Callable[["Call"], Typed]) -> Response:
        """The answer of a synchronous use case; it runs, and its answer is written, in a thread."""
        options = self.options.without_sse()
        return await run_in_threadpool(lambda: options.response(work(self)))


@contextmanager
def relocating(relocation: Relocation) -> Iterator[None]:
    """Faults that a use case finds in a request are told with the paths of the wire."""
    try:
        yield
    except InvalidArgument as error:
        relocated = relocation.apply(error)
        if relocated is error:
            raise
        raise relocated from error
