"""Somebody who calls the API in-process, over the workshop: requests out, answers and raw bytes back."""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from fakes import ECHO_CATALOG
from tuningfork.api.app import Services, create_app
from tuningfork.api.google.form import GoogleForm
from tuningfork.api.google.lost_clients import refuse_lost_client
from tuningfork.api.oauth.routes import OAuthRoutes
from tuningfork.dialect.form import Dialect
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.table import UseCases, gemini
from tuningfork.dialect.own.table import OwnUseCases, own
from tuningfork.dialect.scopes import SCOPES, Scope
from tuningfork.domain.operations import DiskUse
from tuningfork.server.credentials import assertions_of
from tuningfork.service.answering.engines import Engines
from tuningfork.service.identity.identity import Identity
from tuningfork.service.identity.openid import OpenIdTokens
from tuningfork.service.identity.refresh_tokens import RefreshTokens
from tuningfork.service.identity.service_accounts import ServiceAccounts
from tuningfork.service.identity.tokens import AccessTokens
from tuningfork.service.operating.credentials import Keys
from tuningfork.service.operating.throughput import Throughput
from tuningfork.service.operating.unfinished import Unfinished
from tuningfork.service.quotas import Quotas
from tuningfork.service.recent_errors import RecentErrors
from tuningfork.service.tuning.detailing import Detailing
from tuningfork.service.tuning.diagnosing import Diagnosing
from tuningfork.service.tuning.exporting import Exporting
from tuningfork.service.tuning.library import Library
from tuningfork.service.tuning.probing import Probing
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.service.tuning.results import Results
from tuningfork.service.tuning.staging import Staging
from tuningfork.wire.gemini.errors import GEMINI_ERRORS
from tuningfork.wire.gemini.service import SERVICE
from workshop import (
    ADA,
    BOB,
    EXAMPLES,
    Workshop,
    datasets_of,
    evaluations_of,
    importing_of,
    previewing_of,
    residency_of,
    sessions_of,
)

TUTORIAL_BODY = {
    "displayName": "number generator",
    "baseModel": "models/gemini-1.0-pro-001",
    "tuningTask": {
        "hyperparameters": {"batchSize": 4, "learningRate": 0.001, "epochCount": 5},
        "trainingData": {
            "examples": {"examples": [{"textInput": text_input, "output": output} for text_input, output in EXAMPLES]}
        },
    },
}
"""The tutorial's request: fifteen pairs, nineteen steps."""


def turn(text: str, role: str = "user") -> dict[str, Any]:
    """One content of one part."""
    return {"role": role, "parts": [{"text": text}]}


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls as Ada unless told otherwise. `key` "" sends none."""

    app: FastAPI
    workshop: Workshop
    key: str
    bobs_key: str
    services: Services

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """The answer, read to its end. A body of bytes is sent as it is, anything else as JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        credential = self.key if key is None else key
        sent = {"x-goog-api-key": credential} if credential else {}
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tuningfork.test") as client:
            return await client.request(method, path, content=content, headers={**sent, **(headers or {})})

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """The same, in an event loop of its own."""
        return asyncio.run(self.send(method, path, body, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A GET."""
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """A POST."""
        return self.call("POST", path, body, **options)

    def token(self, *scopes: str, **options: Any) -> str:
        """An access token for the caller's key."""
        answer = self.post("/tuningfork/v1/accessTokens", {"scopes": scopes, **options})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["accessToken"])

    def create(self, **changes: Any) -> str:
        """The name of a new tuned model, made by the tutorial's request; nobody trains it yet."""
        answer = self.post("/v1beta/tunedModels", {**TUTORIAL_BODY, **changes})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["metadata"]["tunedModel"])

    def create_active(self, **changes: Any) -> str:
        """The name of a new tuned model that has been trained to its end."""
        name = self.create(**changes)
        self.workshop.advance()
        return name

    def operation_of(self, name: str) -> str:
        """The name of the operation that makes a tuned model."""
        model_id = name.removeprefix("tunedModels/")
        return f"{name}/operations/{self.workshop.tuning.get(ADA, model_id).job.id}"


@dataclass(slots=True)
class OpenCall:
    """One request at the level of ASGI: what was sent so far can be looked at, and the caller can leave.

    `begun` is set when the first piece of the answer's body has come.
    """

    app: FastAPI
    scope: dict[str, Any]
    body: bytes
    sent: list[dict[str, Any]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _body_is_read: bool = False

    @classmethod
    def post(cls, caller: Caller, path: str, query: str, body: Any) -> "OpenCall":
        """A POST of JSON as Ada."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"tuningfork.test"), (b"x-goog-api-key", caller.key.encode())],
            "client": ("127.0.0.1", 50_000),
            "server": ("tuningfork.test", 80),
        }
        return cls(caller.app, scope, json.dumps(body).encode())

    async def run(self) -> None:
        """Let the application answer until it is done."""
        await self.app(self.scope, self._receive, self._send)

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    @property
    def received(self) -> bytes:
        """The part of the answer's body that has come."""
        return b"".join(message.get("body", b"") for message in self.sent)

    async def _receive(self) -> dict[str, Any]:
        if not self._body_is_read:
            self._body_is_read = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.begun.set()


def identity_of(workshop: Workshop, outside: OpenIdTokens | None = None) -> Identity:
    """What authenticates the callers of an application over the workshop."""
    tokens = AccessTokens(workshop.database, workshop.clock, scopes=SCOPES, audience=SERVICE)
    assertions = assertions_of(workshop.database, workshop.clock, workshop.access, tokens)
    sessions = sessions_of(workshop)
    return Identity(access=workshop.access, tokens=tokens, sessions=sessions, assertions=assertions, outside=outside)


def refresh_tokens_of(workshop: Workshop, tokens: AccessTokens) -> RefreshTokens:
    """Those of the workshop's database."""
    return RefreshTokens(
        database=workshop.database,
        clock=workshop.clock,
        access=workshop.access,
        tokens=tokens,
        default_scopes=(Scope.CLOUD_PLATFORM.value,),
    )


def caller_of(
    workshop: Workshop,
    *,
    gate: Gate | None = None,
    quotas: Quotas | None = None,
    require_credential: bool = True,
    healthy: Callable[[], str | None] = lambda: None,
    origins: tuple[str, ...] = (),
    further: tuple[Dialect[Any], ...] = (),
    body_seconds: float = 30.0,
    open_metrics: bool = False,
    metrics_token: str | None = None,
    ready: Callable[[], Mapping[str, str | None]] = dict,
) -> Caller:
    """A caller of an application over the workshop, with keys for Ada and for Bob, a stranger to her models.

    `further` dialects are mounted beside Gemini's and our own. `quotas` None: the workshop's. Once for a workshop: the
    application counts in its registry.
    """
    quotas = quotas or workshop.quotas
    gate = gate or Gate(
        identity=identity_of(workshop),
        quotas=quotas,
        require_credential=require_credential,
    )
    use_cases = UseCases(tuning=workshop.tuning, sharing=workshop.sharing, generation=workshop.generation)
    staging = Staging(workshop.executor, workshop.running.speeds, workshop.tuning.get, workshop.tuning.list)
    operators = gate.identity.sessions.operators
    places = QueuePlaces(workshop.database, workshop.running.turns, workshop.running.speeds, places=2)
    datasets = datasets_of(workshop)
    own_use_cases = OwnUseCases(
        exporting=Exporting(workshop.tuning, ECHO_CATALOG),
        importing=importing_of(workshop),
        import_threads=ThreadPoolExecutor(1),
        previewing=previewing_of(workshop),
        datasets=datasets,
        upload_threads=ThreadPoolExecutor(1),
        evaluations=evaluations_of(workshop, datasets.shelf),
        residency=residency_of(workshop),
        generation=workshop.generation,
        diagnosing=Diagnosing(workshop.database, workshop.tuning.list),
        staging=staging,
        results=Results(workshop.database, workshop.clock),
        engines=Engines(
            workshop.database,
            workshop.executor,
            residency_of(workshop),
            workshop.running.speeds,
            workshop.metrics,
            RecentErrors(workshop.clock),
            Throughput(workshop.clock, workshop.metrics.work),
            memory=lambda: {"server": 1_000, "trainer": 2_000},
            disk=lambda: DiskUse(kinds={"adapters": 3_000}, free_bytes=4_000),
            operators=operators,
        ),
        unfinished=Unfinished(
            workshop.database,
            workshop.clock,
            staging.all_staged,
            places,
            operators=operators,
            cancel=workshop.tuning.cancel,
        ),
        keys=Keys(workshop.access, operators, quotas),
        library=Library(workshop.database, workshop.clock, staging.all_staged, places),
        probing=Probing(workshop.database, workshop.artifacts, workshop.clock),
        detailing=Detailing(workshop.database, ECHO_CATALOG, workshop.clock, staging.staged, places),
        tokens=gate.identity.tokens,
        refresh_tokens=refresh_tokens_of(workshop, gate.identity.tokens),
        sessions=gate.identity.sessions,
        service_accounts=ServiceAccounts(database=workshop.database, clock=workshop.clock),
    )
    form = GoogleForm(GEMINI_ERRORS)
    services = Services(
        gate=gate,
        dialects=(gemini(use_cases, form), own(own_use_cases, form), *further),
        default_form=form,
        registry=workshop.metrics.registry,
        healthy=healthy,
        origins=origins,
        body_seconds=body_seconds,
        open_metrics=open_metrics,
        metrics_token=metrics_token,
        ready=ready,
        routes=OAuthRoutes(
            refresh_tokens=own_use_cases.refresh_tokens, assertions=gate.identity.assertions, quotas=quotas
        ).routes(),
        check_client=refuse_lost_client,
        errors=own_use_cases.engines.errors,
    )
    ada = workshop.access.create_key("ada's", ADA.email, ADA.project)
    bob = workshop.access.create_key("bob's", BOB.email, BOB.project)
    return Caller(create_app(services), workshop, ada.key, bob.key, services)
