"""The one place where an error becomes an answer, whatever it was and wherever it came from."""

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.api.body import drain
from tuningfork.api.options import json_response
from tuningfork.domain.errors import InternalError, InvalidArgument, NotFound, RpcCode, TuningforkError, Unimplemented
from tuningfork.wire.errors import HTTP_STATUS, render_error

logger = logging.getLogger(__name__)

_NOT_OURS = "An internal error has occurred; the server's log has the details. Please try again."


def error_json(error: Exception) -> dict[str, Any]:
    """The error shape of any exception. One that was not foreseen is logged, and its text stays there."""
    return render_error(_told(error))


def error_response(error: Exception) -> Response:
    """The whole HTTP answer for any exception."""
    told = _told(error)
    return json_response(HTTP_STATUS[told.code], render_error(told))


async def answer_error(_request: Request, error: Exception) -> Response:
    """Exception handler for errors of the domain."""
    return error_response(error)


async def answer_routing_error(request: Request, error: Exception) -> Response:
    """Exception handler for what the router refuses: no such route, or not with this method."""
    await drain(request)
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    told: TuningforkError
    if status == HTTP_STATUS[RpcCode.NOT_FOUND]:
        told = NotFound(f"{request.method} {request.url.path[:200]} is not a method of this server.")
    elif status == 405:
        allowed = (headers or {}).get("allow", (headers or {}).get("Allow", "another method"))
        told = Unimplemented(f"{request.method} is not served at {request.url.path[:200]}; use {allowed}.")
    else:
        told = InvalidArgument(str(error))
    return json_response(status, render_error(told, status), headers=headers)


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
            await error_response(error)(scope, receive, send)


def _told(error: Exception) -> TuningforkError:
    if isinstance(error, TuningforkError):
        if error.code in (RpcCode.INTERNAL, RpcCode.UNKNOWN):
            logger.error("%s", error, exc_info=error)
        return error
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return InternalError(_NOT_OURS)
