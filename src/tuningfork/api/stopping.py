"""Ends open requests when the server stops: with an answer of 503, or with an error at the end of a stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.api.mounts import Mounts, head_of
from tuningfork.dialect.call import MessageStream, Rendered
from tuningfork.domain.errors import Unavailable

_RETRY_SECONDS = 5


class Stopping:
    """The open requests of a server, and whether it has begun to end them."""

    def __init__(self) -> None:
        self.begun = False
        self.announced = False
        """Whether the server takes no more connections and will soon end its open requests."""
        self._open: set[_OpenRequest] = set()

    def add(self, request: "_OpenRequest") -> None:
        """Add a request that is open now."""
        self._open.add(request)

    def discard(self, request: "_OpenRequest") -> None:
        """Remove a request that has ended."""
        self._open.discard(request)

    async def end_requests(self, within_seconds: float) -> None:
        """End every open request, and answer later requests with 503.

        Returns when the last one has ended, or after `within_seconds`, since a client may never read its answer.
        """
        self.begun = True
        ending = [asyncio.ensure_future(request.end()) for request in tuple(self._open)]
        if ending:
            await asyncio.wait(ending, timeout=within_seconds)
        for each in ending:
            each.cancel()

    async def until_begun(self, messages: MessageStream[Rendered]) -> AsyncGenerator[Rendered, None]:
        """The messages of a stream. If the server stops meanwhile, `Unavailable` is raised instead of the next message.

        Raises:
            Unavailable: the server stops. The writer of the stream sends the error to the caller.

        """
        try:
            async for message in messages:
                yield message
        except asyncio.CancelledError:
            if not self.begun:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            raise stopping_error() from None
        finally:
            await messages.aclose()


class OpenRequests:
    """ASGI middleware: adds every request to `Stopping`, and refuses requests once the server stops."""

    def __init__(self, app: ASGIApp, mounts: Mounts, stopping: Stopping) -> None:
        self._app = app
        self._mounts = mounts
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _OpenRequest(scope, receive, send, self._mounts)
        if self._stopping.begun:
            await request.refuse()
            return
        self._stopping.add(request)
        try:
            await self._app(scope, receive, request.pass_on)
        except asyncio.CancelledError:
            # Its answer has been sent, as far as the client takes it.
            if not self._stopping.begun:
                raise
        finally:
            self._stopping.discard(request)


class _OpenRequest:
    def __init__(self, scope: Scope, receive: Receive, send: Send, mounts: Mounts) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._mounts = mounts
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._begun = False
        self._refused = False

    async def pass_on(self, message: Message) -> None:
        """Send a message of the application's answer, unless the request was refused in the meantime."""
        if self._refused:
            return
        self._begun = True
        await self._send(message)

    async def refuse(self) -> None:
        """Answer 503 instead of the application."""
        self._refused = True
        headers = {"connection": "close", "retry-after": str(_RETRY_SECONDS)}
        response = self._mounts.error_response(stopping_error(), head_of(self._scope), headers=headers)
        await response(self._scope, self._receive, self._send)

    async def end(self) -> None:
        """Answer 503; or, if an answer has begun, interrupt the code that writes it, and wait until it ends."""
        if not self._begun:
            await self.refuse()
        if self._task is not None:
            self._task.cancel()
        if self._begun and self._task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({self._task})


def stopping_error() -> Unavailable:
    """The error for callers when the server stops."""
    return Unavailable("The server is stopping. Send the request again in a moment.")
