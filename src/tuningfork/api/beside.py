"""Applications beside the API in one server, each below a path of its own."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from tuningfork.api.request_records import recorded_as


class Beside:
    """ASGI middleware: requests for a path of `mounted`, or below it, are for the application there.

    The application sees the whole path. Its successful requests are left out of the access log, since pages that are
    open ask again and again.
    """

    def __init__(self, app: ASGIApp, mounted: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._mounted = mounted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to whom it is for."""
        app = self._app
        if scope["type"] in {"http", "websocket"}:
            path = scope["path"]
            for prefix, mounted in self._mounted.items():
                if path == prefix or path.startswith(f"{prefix}/"):
                    recorded_as(scope, prefix)
                    app = mounted
        await app(scope, receive, send)
