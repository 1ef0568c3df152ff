"""Turns every error into an answer: errors of methods, errors of routing, and unexpected exceptions."""

import logging
from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.api.body import drain
from tuningfork.api.body_times import SlowBody
from tuningfork.api.mounts import Mounts, head_of
from tuningfork.domain.errors import DeadlineExceeded, InvalidArgument, NotFound, Unimplemented
from tuningfork.logs.access import shown_path, shown_verb

logger = logging.getLogger(__name__)

_METHOD_NOT_ALLOWED = 405
_REQUEST_TIMEOUT = 408
_SHOWN_PATH_CHARACTERS = 200


class ErrorAnswers:
    """Exception handlers of the application, which answer in the form of the dialect at the request's path.

    `check_client` looks at the headers of requests for `/`, and refuses those of clients that lost their path.
    """

    def __init__(self, mounts: Mounts, check_client: Callable[[Mapping[str, str]], None]) -> None:
        self._mounts = mounts
        self._check_client = check_client

    async def answer_error(self, request: Request, error: Exception) -> Response:
        """The answer for an error of the domain."""
        return self._mounts.error_response(error, head_of(request.scope))

    async def answer_routing_error(self, request: Request, error: Exception) -> Response:
        """The answer for a path without a route, or for a verb that the route does not take."""
        await drain(request.stream())
        head = head_of(request.scope)
        path = request.url.path[:_SHOWN_PATH_CHARACTERS]
        try:
            if path == "/":
                self._check_client(request.headers)
        except InvalidArgument as lost:
            return self._mounts.error_response(lost, head)
        allowed = sorted(_verbs_at(request))
        if not allowed:
            return self._mounts.error_response(
                NotFound(f"{request.method} {path} is not a method of this server."), head
            )
        if isinstance(error, HTTPException) and error.status_code == _METHOD_NOT_ALLOWED:
            refused = Unimplemented(f"{request.method} is not served at {path}; use {' or '.join(allowed)}.")
            # No `Code` means that the verb is wrong, so the HTTP status is given.
            return self._mounts.error_response(
                refused, head, status=_METHOD_NOT_ALLOWED, headers={"allow": ", ".join(allowed)}
            )
        return self._mounts.error_response(error, head)


def _verbs_at(request: Request) -> set[str]:
    """The verbs that the routes at this path take."""
    return {
        verb
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for verb in route.methods or ()
    }


class ErrorBoundary:
    """ASGI middleware: answers every exception that the application raises before it has begun to answer."""

    def __init__(self, app: ASGIApp, mounts: Mounts) -> None:
        self._app = app
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer it here if the application raises."""
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
            verb, path = shown_verb(scope["method"]), shown_path(scope["path"])
            logger.info("%s %s: the client left while it was sending", verb, path)
        except SlowBody as slow:
            if begun:
                raise
            await self._slow_answer(slow, scope)(scope, receive, send)
        except Exception as error:
            if begun:
                # The status has been sent already. The server closes the connection, so the client sees a failure.
                raise
            await self._mounts.error_response(error, head_of(scope))(scope, receive, send)

    def _slow_answer(self, slow: SlowBody, scope: Scope) -> Response:
        error = DeadlineExceeded(
            f"The body of the request did not arrive within {slow.seconds:.0f} seconds. Send it faster, or in smaller "
            "requests; the server's setting TUNINGFORK_REQUEST_BODY_SECONDS is the limit."
        )
        # No code of ours says that the client was slow; HTTP does.
        return self._mounts.error_response(
            error, head_of(scope), status=_REQUEST_TIMEOUT, headers={"connection": "close"}
        )
