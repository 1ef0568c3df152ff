"""Routes of the server itself: whether it is well, what it counts, and adapters to take home."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.archive import AdapterArchive
from tuningfork.api.calls import Call
from tuningfork.api.carrying import Endpoint
from tuningfork.api.disconnects import StreamedResponse
from tuningfork.api.options import json_response
from tuningfork.dialect.gate import Gate
from tuningfork.domain.errors import Unavailable
from tuningfork.domain.method import Method
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.tuning import Tuning

Route = tuple[str, str, Endpoint]
"""HTTP verb, path from the root, endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRoutes:
    """What is ours and not the Gemini API's. `healthy` gives the reason why no work can be taken, or None."""

    gate: Gate
    tuning: Tuning
    registry: CollectorRegistry
    healthy: Callable[[], str | None]

    def routes(self) -> tuple[Route, ...]:
        """Every route, from the root."""
        return (
            ("GET", "/healthz", self.health),
            ("GET", "/metrics", self.metrics),
            ("GET", "/tuningfork/v1/tunedModels/{tuned_model:id}/adapter", self.adapter),
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
