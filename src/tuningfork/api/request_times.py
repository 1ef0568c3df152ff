"""How long requests take, by use case and status, in the Prometheus registry of the service."""

import time

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class RequestTimes:
    """ASGI middleware: from the first byte of a request's head to the last one of its answer, streams included."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "tuningfork_http_request_seconds",
            "From a request to the end of its answer.",
            labelnames=("endpoint", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on and take its time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = "none"

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            # The function's name: paths hold names of models, and methods are what callers make them.
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self._seconds.labels(endpoint, status).observe(time.monotonic() - began)
