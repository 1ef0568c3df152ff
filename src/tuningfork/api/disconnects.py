"""Stops the work for a caller who closes the connection."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tuningfork.domain.errors import Cancelled

Result = TypeVar("Result")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work, and cancel it if the client closes the connection. The body must have been read before.

    Raises:
        Cancelled: the client closed the connection, so nobody receives an answer.

    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Cancelled("The client closed the connection before the answer was ready.")
    finally:
        await _end(working, leaving)


class StreamedResponse(Response):
    """An answer that is sent piece by piece while it is generated.

    The generator `pieces` is closed when everything has been sent, when the client closes the connection, and when the
    server stops. It releases what it holds in its own `finally`.
    """

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str], status: int = 200) -> None:
        self.status_code = status
        self.background = None
        self._pieces = pieces
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send every piece, unless the client closes the connection."""
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_until_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await _end(sending, leaving)
            await self._pieces.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
