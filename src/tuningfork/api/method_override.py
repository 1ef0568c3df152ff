"""`X-HTTP-Method-Override`: another verb inside a POST, for clients behind proxies that know only GET and POST."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_VERBS = frozenset({"GET", "PUT", "PATCH", "DELETE"})


class MethodOverride:
    """ASGI middleware: the header's verb takes the place of POST; unknown ones are left for the router to refuse."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on with the verb that is meant."""
        if scope["type"] == "http" and scope["method"] == "POST":
            verb = Headers(scope=scope).get("x-http-method-override", "").strip().upper()
            if verb in _VERBS:
                scope = {**scope, "method": verb}
        await self._app(scope, receive, send)
