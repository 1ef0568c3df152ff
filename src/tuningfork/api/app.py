"""The ASGI application: every route of every version, around them the one error shape and the clock."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

from tuningfork.api.browsers import AllowedOrigins, LocalCallersOnly
from tuningfork.api.carrying import endpoint_of
from tuningfork.api.errors import ErrorBoundary, answer_error, answer_routing_error
from tuningfork.api.method_override import MethodOverride
from tuningfork.api.request_times import RequestTimes
from tuningfork.api.server_routes import ServerRoutes
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.table import VERSIONS, UseCases, bindings
from tuningfork.domain.errors import TuningforkError
from tuningfork.service.metrics import Metrics
from tuningfork.service.previewing import Previewing
from tuningfork.service.residency import Residency


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes call. `healthy` gives the reason why no work can be taken, or None.

    `origins` are those whose web pages may call, such as `https://example.com`, or `*`.
    """

    gate: Gate
    use_cases: UseCases
    previewing: Previewing
    residency: Residency
    metrics: Metrics
    healthy: Callable[[], str | None]
    origins: tuple[str, ...] = ()


class _Id(Convertor[str]):
    """One path segment without a colon, which begins a custom method: `models/x:generateContent`."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


def create_app(services: Services) -> FastAPI:
    """The application over these services; once for each `Metrics`, in whose registry it counts."""
    register_url_convertor("id", _Id())
    # FastAPI's own documents would describe none of the dialect: routes take and give raw JSON.
    app = FastAPI(title="Tuningfork", openapi_url=None, redirect_slashes=False)
    gate = services.gate
    for binding in bindings(services.use_cases):
        for version in VERSIONS:
            endpoint = endpoint_of(binding, gate, version)
            app.add_route(f"/{version}{binding.path}", endpoint, methods=[binding.verb])
    server = ServerRoutes(
        gate=gate,
        tuning=services.use_cases.tuning,
        previewing=services.previewing,
        residency=services.residency,
        registry=services.metrics.registry,
        healthy=services.healthy,
    )
    for method, path, endpoint in server.routes():
        app.add_route(path, endpoint, methods=[method])
    app.add_exception_handler(TuningforkError, answer_error)
    app.add_exception_handler(HTTPException, answer_routing_error)
    # The last one added is the outermost.
    app.add_middleware(ErrorBoundary)
    app.add_middleware(RequestTimes, registry=services.metrics.registry)
    app.add_middleware(MethodOverride)
    if not gate.require_credential:
        app.add_middleware(LocalCallersOnly, origins=services.origins)
    if services.origins:
        app.add_middleware(AllowedOrigins, origins=services.origins)
    return app
