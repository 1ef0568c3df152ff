"""Routes of the server itself, which belong to no dialect: its health, its readiness and its metrics."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.carrying import Endpoint
from tuningfork.api.health import HealthCheck, StuckCheck
from tuningfork.dialect.method import Asks, Method
from tuningfork.domain.errors import Unavailable
from tuningfork.service.quotas import Cost

_WELL = json.dumps({"status": "ok"}, indent=2) + "\n"
_UNAVAILABLE = 503


class ServerMethod(Method):
    """The methods of the server's own routes that need a credential."""

    # Access tokens have no scope for this.
    GET_METRICS = Asks(full_name="tuningfork.v1.GetMetrics", scopes=(), action=None, cost=Cost.NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRoutes:
    """The routes for monitoring. `admit` refuses callers who may not see the metrics; the others need no credential."""

    registry: CollectorRegistry
    health_check: HealthCheck[str | None]
    ready_check: HealthCheck[Mapping[str, str | None]]
    admit: Callable[[Request], Awaitable[None]]

    def routes(self) -> tuple[tuple[str, str, Endpoint], ...]:
        """Every verb and path, with its endpoint."""
        return (
            ("GET", "/healthz", self.health),
            ("GET", "/readyz", self.readiness),
            ("GET", "/metrics", self.metrics),
        )

    async def health(self, _request: Request) -> Response:
        """Status 200 if the service can work, else 503 with the reason."""
        reason = await self.health_check.reason()
        if reason is not None:
            raise Unavailable(reason)
        return Response(_WELL, media_type="application/json; charset=UTF-8")

    async def readiness(self, _request: Request) -> Response:
        """Status 200 if every part of the service works, else 503; in both cases, what is the matter with each part."""
        try:
            checks = await self.ready_check.result()
        except StuckCheck as stuck:
            checks = {"checks": str(stuck)}
        is_ready = not any(checks.values())
        shown = {name: reason or "ok" for name, reason in checks.items()}
        body = json.dumps({"status": "ready" if is_ready else "not ready", "checks": shown}, indent=2) + "\n"
        return Response(body, 200 if is_ready else _UNAVAILABLE, media_type="application/json; charset=UTF-8")

    async def metrics(self, request: Request) -> Response:
        """All metrics in the Prometheus text format."""
        await self.admit(request)
        return Response(await run_in_threadpool(generate_latest, self.registry), media_type=CONTENT_TYPE_LATEST)
