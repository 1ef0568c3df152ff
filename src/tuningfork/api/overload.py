"""Answers for connections beyond the server's limit, and for bytes that are not HTTP."""

from starlette.types import Receive, Scope, Send

from tuningfork.api.mounts import Mounts, head_of
from tuningfork.dialect.form import RequestHead, WholeAnswer
from tuningfork.domain.errors import InvalidArgument, Unavailable

_RETRY_SECONDS = 1


class Refusing:
    """An ASGI application that refuses every request because the server has too many connections."""

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 in the form of the path, and close the connection."""
        error = Unavailable(
            "The server has as many connections as it can hold. Try again in a moment, and keep connections open for "
            "further requests instead of opening new ones."
        )
        headers = {"connection": "close", "retry-after": str(_RETRY_SECONDS)}
        await self._mounts.error_response(error, head_of(scope), headers=headers)(scope, receive, send)


def unreadable_answer(mounts: Mounts) -> WholeAnswer:
    """The answer to bytes that are not HTTP, in the default form."""
    error = InvalidArgument("The request is not valid HTTP/1.1: its first line, a header or its chunks are malformed.")
    return mounts.default_form.error(error, RequestHead(verb="GET", path="/", query={}, headers={}))
