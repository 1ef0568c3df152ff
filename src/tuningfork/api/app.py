"""The ASGI application: a route for every method of every mounted dialect, and the middleware around them."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp

from tuningfork.api.base_urls import EncodedPaths, RepairedPaths
from tuningfork.api.beside import Beside
from tuningfork.api.body_times import BodyTimes
from tuningfork.api.browsers import AllowedOrigins, LocalCallersOnly
from tuningfork.api.carrying import Endpoint, endpoint_of
from tuningfork.api.errors import ErrorAnswers, ErrorBoundary
from tuningfork.api.front_routes import FrontRoutes
from tuningfork.api.health import HealthCheck
from tuningfork.api.mounts import Mounts, head_of
from tuningfork.api.openapi import Document, document
from tuningfork.api.request_records import RequestRecords, access_of, recorded
from tuningfork.api.server_routes import ServerMethod, ServerRoutes
from tuningfork.api.stopping import OpenRequests, Stopping
from tuningfork.api.verb_override import VerbOverride
from tuningfork.dialect.form import Dialect, Form
from tuningfork.dialect.gate import Gate
from tuningfork.domain.errors import TuningforkError
from tuningfork.logs.access import key_of
from tuningfork.service.recent_errors import RecentErrors


def _any_client(_headers: Mapping[str, str]) -> None:
    """Every client may ask for `/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the application is built from.

    `default_form` is the form of answers to paths that belong to none of the `dialects`. `healthy` gives the reason why
    no work can be taken, or None. `origins` are those whose web pages may call, such as `https://example.com`, or `*`.
    A body that keeps the server waiting for more than `body_seconds` is refused. With `open_metrics`, `/metrics` needs
    no API key; otherwise `metrics_token` is taken there as well. `ready` gives the same as `healthy` for each part of
    the server. Through `stopping`, whoever stops the server ends its open requests. `routes` belong to no dialect: each
    is a verb and a path, with its endpoint. `errors` counts the answers that are errors. `check_client` gets the
    headers of requests for `/`, and refuses those of clients that lost the rest of their path.
    """

    gate: Gate
    dialects: tuple[Dialect[Any], ...]
    default_form: Form[Any]
    registry: CollectorRegistry
    healthy: Callable[[], str | None]
    origins: tuple[str, ...] = ()
    body_seconds: float = 30.0
    open_metrics: bool = False
    metrics_token: str | None = None
    ready: Callable[[], Mapping[str, str | None]] = dict
    stopping: Stopping = field(default_factory=Stopping)
    routes: tuple[tuple[str, str, Endpoint], ...] = ()
    check_client: Callable[[Mapping[str, str]], None] = _any_client
    errors: RecentErrors = field(default_factory=lambda: RecentErrors(lambda: datetime.now(UTC)))


class _Id(Convertor[str]):
    """One path segment up to a colon, after which comes the name of a custom method: `models/x:generateContent`."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


def _metrics_gate(services: Services) -> Callable[[Request], Awaitable[None]]:
    """Refuses requests for the metrics without an API key, unless the operator allows them."""
    form = services.default_form

    async def admit(request: Request) -> None:
        if not services.open_metrics:
            access, credential = access_of(request), form.credential(head_of(request.scope))
            if credential is not None and _is_same(credential.value, services.metrics_token):
                return
            principal = await services.gate.admit_without_waiting(
                credential, ServerMethod.GET_METRICS, run_in_threadpool, access.remote
            )
            access.key = key_of(principal.credential)

    return admit


def _document(services: Services, servers_own: Sequence[tuple[str, str, Endpoint]]) -> Document:
    return document(
        services.dialects,
        servers_own,
        keyed=frozenset() if services.open_metrics else frozenset({"/metrics"}),
        with_credentials=services.gate.require_credential,
    )


def _is_same(sent: str, secret: str | None) -> bool:
    return secret is not None and hmac.compare_digest(sent.encode(errors="replace"), secret.encode())


def create_app(services: Services, mounted: Mapping[str, ASGIApp] = MappingProxyType({})) -> FastAPI:
    """Build the application; only once for each registry, in which it registers its metrics.

    Below each path of `mounted` another application answers.
    """
    register_url_convertor("id", _Id())
    # FastAPI's OpenAPI document is turned off: routes take and return raw JSON, so it would describe no dialect.
    # `api/openapi.py` makes one.
    app = FastAPI(title="Tuningfork", openapi_url=None, redirect_slashes=False)
    for dialect in services.dialects:
        for binding in dialect.bindings:
            for prefix, version in dialect.prefixes.items():
                endpoint = endpoint_of(
                    binding, dialect.form, services.gate, services.stopping, version, services.origins
                )
                path = f"{prefix}{binding.path}"
                app.add_route(path, recorded(endpoint, path), methods=[binding.verb])
    routes = ServerRoutes(
        registry=services.registry,
        health_check=HealthCheck(services.healthy),
        ready_check=HealthCheck(services.ready),
        admit=_metrics_gate(services),
    )
    front = FrontRoutes(lambda: _document(services, (*routes.routes(), *further)), services.check_client)
    further = (*front.routes(), *services.routes)
    for verb, path, endpoint in routes.routes():
        app.add_route(path, recorded(endpoint, path, quiet=True), methods=[verb])
    for verb, path, endpoint in further:
        app.add_route(path, recorded(endpoint, path), methods=[verb])
    mounts = Mounts(services.dialects, default_form=services.default_form)
    answers = ErrorAnswers(mounts, services.check_client)
    app.add_exception_handler(TuningforkError, answers.answer_error)
    app.add_exception_handler(HTTPException, answers.answer_routing_error)
    # The middleware that is added last is the outermost.
    app.add_middleware(Beside, mounted=mounted)
    app.add_middleware(BodyTimes, seconds=services.body_seconds)
    app.add_middleware(ErrorBoundary, mounts=mounts)
    app.add_middleware(OpenRequests, mounts=mounts, stopping=services.stopping)
    app.add_middleware(VerbOverride, mounts=mounts)
    app.add_middleware(RepairedPaths, mounts=mounts)
    app.add_middleware(EncodedPaths, mounts=mounts)
    if not services.gate.require_credential:
        app.add_middleware(LocalCallersOnly, origins=services.origins, mounts=mounts)
    if services.origins:
        app.add_middleware(AllowedOrigins, origins=services.origins, mounts=mounts)
    app.add_middleware(RequestRecords, registry=services.registry, errors=services.errors)
    return app
