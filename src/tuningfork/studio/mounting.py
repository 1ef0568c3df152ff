"""Builds the Studio when the first browser asks for it, so that a server without visitors does not load it."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class OnFirstRequest:
    """An ASGI application that another one answers for, which is built at the first request.

    `build` runs in a thread, since it imports packages for a quarter of a second.
    """

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._building: asyncio.Task[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the application."""
        if self._building is None:
            self._building = asyncio.create_task(asyncio.to_thread(self._build))
        # Shielded: one visitor who leaves must not stop the building for the others.
        app = await asyncio.shield(self._building)
        await app(scope, receive, send)


def address_on_this_machine(url: str) -> str:
    """The address by which a server reaches itself: one that listens on all addresses is called on loopback."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
