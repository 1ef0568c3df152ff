"""What is recorded of every HTTP request: its id, its time as a Prometheus histogram, and a line of the access log."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import wraps

from prometheus_client import CollectorRegistry, Histogram
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.logs.access import Access, log_access
from tuningfork.logs.request_ids import HEADER, current_request, request_id
from tuningfork.service.recent_errors import RecentErrors

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SCOPE_KEY = "tuningfork.access"
_HEADER = HEADER.encode()
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{1,45}")


class RequestRecords:
    """ASGI middleware: measures from a request's head to the last byte of its answer, streams included, and logs it.

    The answer has the request's id in `X-Request-Id`. To be the outermost middleware, so that refusals of the others
    are recorded too.
    """

    def __init__(
        self,
        app: ASGIApp,
        registry: CollectorRegistry,
        errors: RecentErrors,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._app = app
        self._random_bits = random_bits
        self._errors = errors
        self._seconds = Histogram(
            "tuningfork_http_request_seconds",
            "From a request to the end of its answer.",
            labelnames=("endpoint", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER), None)
        known = request_id(given, self._random_bits)
        header = (_HEADER, known.encode())
        client = scope.get("client")
        # Behind a proxy on this machine it is what the proxy says, or whoever says to be one.
        remote = client[0] if client and _ADDRESS.fullmatch(client[0]) else "unknown"
        access = Access(scope["method"], scope["path"], remote)
        scope[_SCOPE_KEY] = access

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                access.status = str(message["status"])
                message = {**message, "headers": [*message["headers"], header]}
            else:
                access.sent_bytes += len(message.get("body", b""))
            await send(message)

        token = current_request.set(known)
        try:
            await self._app(scope, receive, watch)
        finally:
            seconds = time.monotonic() - began
            # The endpoint's name has few different values. Paths contain model names, and verbs may be any text.
            self._seconds.labels(access.endpoint, access.status).observe(seconds)
            if access.status.isdecimal():
                self._errors.note(int(access.status), access.endpoint, known)
            log_access(access, seconds)
            current_request.reset(token)


def access_of(request: Request) -> Access:
    """What is recorded of this request; to be completed by those who know more of it."""
    access = request.scope.get(_SCOPE_KEY)
    return access if isinstance(access, Access) else Access(request.method, request.url.path, "unknown")


def recorded_as(scope: Scope, prefix: str) -> None:
    """Record this request under a prefix of its path, and leave it out of the access log if it is successful."""
    access = scope.get(_SCOPE_KEY)
    if isinstance(access, Access):
        access.route, access.endpoint, access.quiet = prefix, prefix.strip("/"), True


def recorded(
    endpoint: Callable[[Request], Awaitable[Response]], route: str, *, quiet: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, which is recorded under its name and its route.

    Args:
        endpoint: what answers requests.
        route: the pattern of their paths.
        quiet: whether successful requests are of no interest in the access log.

    """

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        access = access_of(request)
        access.route, access.endpoint, access.quiet = route, endpoint.__name__, quiet
        return await endpoint(request)

    return answer
