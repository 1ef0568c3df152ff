"""The one place where an error becomes an answer, whatever it was and wherever it came from."""

import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.api.body import drain
from tuningfork.api.options import json_response, wants_first_error_format, wants_pretty
from tuningfork.dialect.faults import told
from tuningfork.domain.errors import (
    NotFound,
    QuotaExceeded,
    ScopeInsufficient,
    TokenNotValid,
    TuningforkError,
    Unimplemented,
)
from tuningfork.wire.errors import HTTP_STATUS, render_error

logger = logging.getLogger(__name__)

_METHOD_NOT_ALLOWED = 405
_SHOWN_PATH_CHARACTERS = 200
_BEARER = 'Bearer realm="https://accounts.google.com/"'


def error_json(error: Exception) -> dict[str, Any]:
    """The error shape of any exception. One that was not foreseen is logged, and its text stays there."""
    return render_error(told(error))


def error_response(error: Exception, request: Request) -> Response:
    """The whole HTTP answer for any exception, in the form that the request asks for."""
    return _response(request, told(error))


async def answer_error(request: Request, error: Exception) -> Response:
    """Exception handler for errors of the domain."""
    return error_response(error, request)


async def answer_routing_error(request: Request, error: Exception) -> Response:
    """Exception handler for what the router refuses: no such route, or not with this method."""
    await drain(request.stream())
    path = request.url.path[:_SHOWN_PATH_CHARACTERS]
    allowed = sorted(_methods_at(request))
    if not allowed:
        return error_response(NotFound(f"{request.method} {path} is not a method of this server."), request)
    if isinstance(error, HTTPException) and error.status_code == _METHOD_NOT_ALLOWED:
        refused = Unimplemented(f"{request.method} is not served at {path}; use {' or '.join(allowed)}.")
        # google.rpc has no code for a wrong verb; HTTP does.
        return _response(request, refused, _METHOD_NOT_ALLOWED, headers={"allow": ", ".join(allowed)})
    return error_response(error, request)


def _methods_at(request: Request) -> set[str]:
    """The verbs that some route takes at this path."""
    return {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


class ErrorBoundary:
    """ASGI middleware: nothing leaves the application as an exception."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; answer for it if it fails before it has begun to answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            logger.info("%s %s: the client left while it was sending", scope["method"], scope["path"])
        except Exception as error:
            if begun:
                # Too late for an answer: the server closes the connection, which tells the client enough.
                raise
            await error_response(error, Request(scope))(scope, receive, send)


def _response(
    request: Request, error: TuningforkError, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    status = status or HTTP_STATUS[error.code]
    headers = {**_headers(error), **(headers or {})}
    shape = render_error(error, status, first_format=wants_first_error_format(request))
    return json_response(status, shape, pretty=wants_pretty(request), headers=headers)


def _headers(error: TuningforkError) -> Mapping[str, str]:
    """What HTTP says in headers beside the body (RFC 6750 section 3, RFC 9110 section 10.2.3)."""
    match error:
        case ScopeInsufficient(scopes=scopes):
            return {"www-authenticate": f'{_BEARER}, error="insufficient_scope", scope="{" ".join(scopes)}"'}
        case TokenNotValid():
            return {"www-authenticate": f'{_BEARER}, error="invalid_token"'}
        case QuotaExceeded(retry_seconds=seconds):
            return {"retry-after": str(seconds)}
        case _:
            return {}
