"""One call of an API method: who calls, with what, and how the answer is to be written."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tuningfork.api.auth import find_credential
from tuningfork.api.body import drain, read_body
from tuningfork.api.options import AnswerOptions, method_parameters
from tuningfork.dialect.gate import Gate
from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.method import Method
from tuningfork.domain.permission import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that came in whole, from somebody known."""

    principal: Principal
    query: Mapping[str, str]
    body: bytes
    options: AnswerOptions

    @classmethod
    async def of(cls, request: Request, gate: Gate, method: Method) -> "Call":
        """Let a request for this method in.

        Credentials come first, so that a stranger cannot make the server read and parse megabytes.

        Raises:
            TuningforkError: the caller is not known or may not call this, or the request is too large or cannot
                be read.

        """
        try:
            credential = find_credential(request)
            principal = gate.admit_at_once(credential, method)
            if principal is None:
                principal = await run_in_threadpool(gate.admit, credential, method)
        except TuningforkError:
            await drain(request.stream())
            raise
        return cls(
            principal=principal,
            query=method_parameters(request),
            options=AnswerOptions.of(request),
            body=await read_body(request),
        )
