"""The time limit of a request's body."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES_PER_SECOND = 1_000
"""A client that sends a body, or reads an answer, at least this fast is never disconnected for being slow."""


class SlowBody(Exception):
    """The server waited for a request's body longer than is allowed; `seconds` is how long it waited."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the body did not arrive within {seconds:.0f} seconds")
        self.seconds = seconds


class BodyTimes:
    """ASGI middleware: raises `SlowBody` in code that waits for a body that does not arrive in time.

    Only the time in which the server waits counts, not the time that it needs to process a piece.

    Args:
        app: the application.
        seconds: the base of the time limit. It grows by one second for every `LEAST_BYTES_PER_SECOND` bytes of the
            body.

    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            receive = _TimedBody(receive, self._seconds).receive
        await self._app(scope, receive, send)


class _TimedBody:
    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._allowed_seconds = seconds
        self._waited_seconds = 0.0
        self._ended = False

    async def receive(self) -> Message:
        if self._ended:
            return await self._receive()
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, self._allowed_seconds - self._waited_seconds)):
                message = await self._receive()
        except TimeoutError as error:
            raise SlowBody(self._allowed_seconds) from error
        finally:
            self._waited_seconds += asyncio.get_running_loop().time() - began
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        self._allowed_seconds += len(message.get("body", b"")) / LEAST_BYTES_PER_SECOND
        return message
