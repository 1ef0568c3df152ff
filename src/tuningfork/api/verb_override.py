"""Replaces the HTTP verb of a request by the verb in its headers, if the form of its dialect supports that."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tuningfork.api.mounts import Mounts


class VerbOverride:
    """ASGI middleware: before routing, sets the verb that `Form.verb` returns."""

    def __init__(self, app: ASGIApp, mounts: Mounts) -> None:
        self._app = app
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the verb that it asks for."""
        if scope["type"] == "http":
            verb = self._mounts.form_of(scope["path"]).verb(scope["method"], Headers(scope=scope))
            if verb != scope["method"]:
                scope = {**scope, "method": verb}
        await self._app(scope, receive, send)
