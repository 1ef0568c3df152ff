"""Which web pages may call the server from a browser, and how a server without credentials refuses the others.

A web page can make its visitor's browser send requests to servers on the visitor's own machine, without the visitor
knowing. A server that asks for a key or a token is safe, since such a page has none. A server without authentication
(`--no-auth`) has to check the origin of each request.
"""

import re
from collections.abc import Collection, Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tuningfork.api.mounts import Mounts, head_of
from tuningfork.dialect.form import RequestHead
from tuningfork.domain.errors import PermissionDenied
from tuningfork.domain.loopback import is_loopback

ANY_ORIGIN = "*"

_VERBS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_READABLE_HEADERS = ("ETag", "Retry-After", "WWW-Authenticate", "X-Request-Id")
_REMEMBERED_SECONDS = 3_600
_SHOWN_CHARACTERS = 100
_OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_HOST = re.compile(r"(?:(?P<name>[^][:@/]+)|\[(?P<address>[0-9a-f:.]+)\])(?::[0-9]*)?", re.IGNORECASE)


class AllowedOrigins(CORSMiddleware):
    """ASGI middleware: web pages of these origins may call every route with any header, and read every answer.

    Args:
        app: the application.
        origins: each `scheme://host[:port]`, or `*` for all.
        mounts: for the form in which a refusal is written.

    """

    def __init__(self, app: ASGIApp, origins: Collection[str], mounts: Mounts) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_VERBS,
            # All headers are allowed: SDKs add new ones in every version, and no header by itself gives access.
            allow_headers=(ANY_ORIGIN,),
            expose_headers=_READABLE_HEADERS,
            allow_private_network=True,
            max_age=_REMEMBERED_SECONDS,
        )
        self._mounts = mounts

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer the preflight request of a browser (CORS); a refusal has the error body of the default form."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        origin = request_headers["origin"][:_SHOWN_CHARACTERS]
        verb = request_headers["access-control-request-method"][:_SHOWN_CHARACTERS]
        error = PermissionDenied(
            f"Pages of {origin} may not send {verb} here. The server's setting TUNINGFORK_CORS_ORIGINS names the "
            f"origins that may send {', '.join(_VERBS)}."
        )
        # Starlette passes no path, so the form of "/" is used. Browsers do not show this answer's body to anybody.
        head = RequestHead(verb="OPTIONS", path="/", query={}, headers=request_headers)
        return self._mounts.error_response(error, head, headers={"vary": response.headers["vary"]})


class LocalCallersOnly:
    """ASGI middleware for a server without credentials: refuses every request that a foreign web page may have sent.

    A page can reach a loopback address in two ways. It sends a cross-origin request, which the `Origin` header shows.
    Or its own host name resolves to loopback (DNS rebinding), which the `Host` header shows.

    Args:
        app: the application.
        origins: the origins whose pages may call anyway.
        mounts: for the form in which a refusal is written.

    """

    def __init__(self, app: ASGIApp, origins: Collection[str], mounts: Mounts) -> None:
        self._app = app
        self._mounts = mounts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (refusal := self._refusal(scope["scheme"], Headers(scope=scope))):
            await self._mounts.error_response(PermissionDenied(refusal), head_of(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scheme: str, headers: Headers) -> str | None:
        return _foreign(scheme, headers, self._origins, "--no-auth")


def check_local_program(head: RequestHead, origins: Collection[str]) -> None:
    """Check that a request without a credential is from a program of this machine, where such requests are let in.

    Requests that a proxy has passed on are refused too: they may be from anywhere.

    Raises:
        PermissionDenied: it may be from a web page, or from elsewhere.

    """
    refusal = _foreign(head.scheme, head.headers, origins, "TUNINGFORK_STORAGE_WITHOUT_CREDENTIALS")
    if refusal is None and any(name in head.headers for name in _OF_PROXIES):
        refusal = "Requests that come through a proxy need a credential; send an API key or an access token."
    if refusal is not None:
        raise PermissionDenied(refusal)


def _foreign(scheme: str, headers: Mapping[str, str], origins: Collection[str], door: str) -> str | None:
    """Why a request without a credential may be from a foreign web page; None: it is not."""
    host = headers.get("host")
    if host is not None and not is_loopback(_name_of(host)):
        return (
            f"This server runs with {door} and is called by names of this machine only; "
            f"{host[:_SHOWN_CHARACTERS]!r} is none. Call it as localhost or 127.0.0.1."
        )
    origin = headers.get("origin")
    if origin is None or origin in origins or origin == f"{scheme}://{host}":
        return None
    return (
        f"This server runs with {door}, and pages of {origin[:_SHOWN_CHARACTERS]!r} may not call it. Name them "
        f"in TUNINGFORK_CORS_ORIGINS, or run it without {door}."
    )


def _name_of(host: str) -> str:
    """The host name or address in a `Host` header, without the port; "" if the header is not well formed."""
    found = _HOST.fullmatch(host)
    return (found["name"] or found["address"]) if found else ""
