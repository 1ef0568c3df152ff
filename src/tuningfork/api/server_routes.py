"""Routes of the server itself: whether it is well, what it counts, previews, and adapters to take home."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.archive import AdapterArchive
from tuningfork.api.calls import Call
from tuningfork.api.carrying import Endpoint, endpoint_of
from tuningfork.api.disconnects import StreamedResponse
from tuningfork.api.options import json_response
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.previews import PreviewMethods
from tuningfork.domain.errors import Unavailable
from tuningfork.domain.method import Method
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.previewing import Previewing
from tuningfork.service.residency import Residency
from tuningfork.service.tuning import Tuning
from tuningfork.wire.access_tokens import parse_wanted_token, render_access_token
from tuningfork.wire.gemini.tuning import refuse_query

Route = tuple[str, str, Endpoint]
"""HTTP verb, path from the root, endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRoutes:
    """What is ours and not the Gemini API's. `healthy` gives the reason why no work can be taken, or None."""

    gate: Gate
    tuning: Tuning
    previewing: Previewing
    residency: Residency
    registry: CollectorRegistry
    healthy: Callable[[], str | None]

    def routes(self) -> tuple[Route, ...]:
        """Every route, from the root."""
        methods = PreviewMethods(self.previewing).bindings()
        return (
            ("GET", "/healthz", self.health),
            ("GET", "/metrics", self.metrics),
            ("POST", "/tuningfork/v1/accessTokens", self.create_access_token),
            ("GET", "/tuningfork/v1/tunedModels/{tuned_model:id}/adapter", self.adapter),
            ("GET", "/tuningfork/v1/tunedModels/{tuned_model:id}/residence", self.residence),
            # Errors that tell a version tell the one that creating is usually asked under.
            *((each.verb, f"/tuningfork/v1{each.path}", endpoint_of(each, self.gate, "v1beta")) for each in methods),
        )

    async def health(self, _request: Request) -> Response:
        """200 when the service can take work, else 503 with the reason."""
        reason = await run_in_threadpool(self.healthy)
        if reason is not None:
            raise Unavailable(reason)
        return json_response(200, {"status": "ok"})

    async def metrics(self, _request: Request) -> Response:
        """Everything that is counted, in the Prometheus text format."""
        return Response(await run_in_threadpool(generate_latest, self.registry), media_type=CONTENT_TYPE_LATEST)

    async def create_access_token(self, request: Request) -> Response:
        """An access token for the holder of the API key."""
        call = await Call.of(request, self.gate, Method.CREATE_ACCESS_TOKEN)
        refuse_query(call.query)
        options = call.options.without_sse()

        def work() -> Response:
            wanted = parse_wanted_token(call.body)
            made = self.gate.identity.tokens.create(call.principal, wanted.scopes, wanted.lifetime)
            return options.response(render_access_token(made.value, made.expire_time, made.scopes))

        response = await run_in_threadpool(work)
        # RFC 6749 section 5.1: nobody on the way is to keep it.
        response.headers["cache-control"] = "no-store"
        return response

    async def residence(self, request: Request) -> Response:
        """Whether a tuned model lies in memory, for those who may read the model."""
        call = await Call.of(request, self.gate, Method.GET_TUNED_MODEL)
        refuse_query(call.query)
        model_id = TunedModelId(request.path_params["tuned_model"])
        found = await run_in_threadpool(self.residency.of, call.principal, model_id)
        size = {} if found.size_bytes is None else {"sizeBytes": str(found.size_bytes)}
        value = {"tunedModel": found.name, "resident": found.size_bytes is not None, **size, "pinned": found.pinned}
        return json_response(200, value, pretty=call.options.without_sse().pretty)

    async def adapter(self, request: Request) -> Response:
        """The adapter of a tuned model in PEFT's format, for those who may read the model."""
        call = await Call.of(request, self.gate, Method.EXPORT_ADAPTER)
        model_id = TunedModelId(request.path_params["tuned_model"])

        def work() -> AdapterArchive:
            return AdapterArchive(self.tuning.adapter_directory(call.principal, model_id))

        archive = await run_in_threadpool(work)
        headers = {
            "content-type": "application/x-tar",
            "content-length": str(archive.size),
            "content-disposition": f'attachment; filename="{model_id}.tar"',
        }
        return StreamedResponse(archive.pieces(), headers)
