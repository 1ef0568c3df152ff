"""Web pages as callers: which may, and how a server without credentials keeps the others out.

A page's requests come from the browser of somebody who need not know of them, and reach servers that listen on that
person's machine only. Keys and tokens are sent on purpose, so a server that asks for them is safe from pages that have
none. A server that asks for nothing (`--no-auth`) has to look where a request comes from.
"""

import re
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tuningfork.api.errors import error_response
from tuningfork.api.options import json_response
from tuningfork.domain.errors import PermissionDenied
from tuningfork.domain.loopback import is_loopback
from tuningfork.wire.errors import HTTP_STATUS, render_error

ANY_ORIGIN = "*"

_VERBS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_READABLE_HEADERS = ("Retry-After", "WWW-Authenticate")
_REMEMBERED_SECONDS = 3_600
_SHOWN_CHARACTERS = 100
_HOST = re.compile(r"(?:(?P<name>[^][:@/]+)|\[(?P<address>[0-9a-f:.]+)\])(?::[0-9]*)?", re.IGNORECASE)


class AllowedOrigins(CORSMiddleware):
    """ASGI middleware: pages of these origins may call every route with any header, and read every answer.

    Args:
        app: the application.
        origins: `scheme://host[:port]` each, or `*` for all.

    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_VERBS,
            # SDKs add headers of their own with every version; none of them grants anything by itself.
            allow_headers=(ANY_ORIGIN,),
            expose_headers=_READABLE_HEADERS,
            allow_private_network=True,
            max_age=_REMEMBERED_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks before it sends; a refusal in the one error shape."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        origin = request_headers["origin"][:_SHOWN_CHARACTERS]
        verb = request_headers["access-control-request-method"][:_SHOWN_CHARACTERS]
        error = PermissionDenied(
            f"Pages of {origin} may not send {verb} here. The server's setting TUNINGFORK_CORS_ORIGINS names the "
            f"origins that may send {', '.join(_VERBS)}."
        )
        vary = {"vary": response.headers["vary"]}
        return json_response(HTTP_STATUS[error.code], render_error(error), headers=vary)


class LocalCallersOnly:
    """ASGI middleware for a server without credentials: nothing that a foreign web page could have sent comes in.

    Two ways lead from a page to a loopback address: sending there across origins, which the `Origin` header tells;
    and a name of the page's own that is made to resolve to loopback (DNS rebinding), which the `Host` header tells.

    Args:
        app: the application.
        origins: pages that may call in spite of it.

    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] == "http" and (refusal := self._refusal(scope["scheme"], Headers(scope=scope))):
            await error_response(PermissionDenied(refusal), Request(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scheme: str, headers: Headers) -> str | None:
        host = headers.get("host")
        if host is not None and not is_loopback(_name_of(host)):
            return (
                f"This server runs with --no-auth and is called by names of this machine only; "
                f"{host[:_SHOWN_CHARACTERS]!r} is none. Call it as localhost or 127.0.0.1."
            )
        origin = headers.get("origin")
        if origin is None or origin in self._origins or origin == f"{scheme}://{host}":
            return None
        return (
            f"This server runs with --no-auth, and pages of {origin[:_SHOWN_CHARACTERS]!r} may not call it. Name them "
            "in TUNINGFORK_CORS_ORIGINS, or run it without --no-auth."
        )


def _name_of(host: str) -> str:
    """The name or address in a `Host` header, without the port; "" where there is more or less than these."""
    found = _HOST.fullmatch(host)
    return (found["name"] or found["address"]) if found else ""
