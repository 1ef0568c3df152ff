"""The routes of the Gemini API: each parses, calls one use case and renders."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.calls import Call, relocating
from tuningfork.api.disconnects import while_connected
from tuningfork.api.streaming import stream
from tuningfork.domain.generation import Chunk
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.access import Access
from tuningfork.service.generation import Answer, Generation
from tuningfork.service.tuning import Tuned, Tuning
from tuningfork.wire.gemini import generation as wire_generation
from tuningfork.wire.gemini import models as wire_models
from tuningfork.wire.gemini import tuning as wire_tuning
from tuningfork.wire.proto_json.encode import Typed

VERSIONS = ("v1beta", "v1", "v1alpha")
"""All served alike: the tutorial creates under one and polls under another."""

Endpoint = Callable[[Request], Awaitable[Response]]
Route = tuple[str, str, Endpoint]
"""HTTP method, path below the version, endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiRoutes:
    """The methods of ModelService, GenerativeService and Operations that this server has."""

    access: Access
    tuning: Tuning
    generation: Generation
    require_key: bool

    def routes(self) -> tuple[Route, ...]:
        """Every route (gemini-api section 2)."""
        return (
            ("GET", "/models", self.list_models),
            ("GET", "/models/{model:id}", self.get_model),
            ("POST", "/tunedModels", self.create_tuned_model),
            ("GET", "/tunedModels", self.list_tuned_models),
            ("GET", "/tunedModels/{tuned_model:id}", self.get_tuned_model),
            ("DELETE", "/tunedModels/{tuned_model:id}", self.delete_tuned_model),
            ("POST", "/tunedModels/{tuned_model:id}:cancel", self.cancel_tuning),
            ("GET", "/tunedModels/{tuned_model:id}/operations/{operation:id}", self.get_operation),
            ("POST", "/tunedModels/{tuned_model:id}/operations/{operation:id}:cancel", self.cancel_tuning),
            *(
                ("POST", f"/{kind}:{method}", endpoint)
                for kind in ("models/{model:id}", "tunedModels/{tuned_model:id}")
                for method, endpoint in (
                    ("generateContent", self.generate_content),
                    ("streamGenerateContent", self.stream_generate_content),
                    ("countTokens", self.count_tokens),
                )
            ),
        )

    async def list_models(self, request: Request) -> Response:
        """models.list."""
        call = await self._enter(request)
        return await call.reply(lambda call: wire_models.render_models_page(self.generation.models(), call.query))

    async def get_model(self, request: Request) -> Response:
        """models.get."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wire_tuning.refuse_query(call.query)
            return wire_models.render_model(self.generation.model(_resource(request)))

        return await call.reply(work)

    async def create_tuned_model(self, request: Request) -> Response:
        """tunedModels.create."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wanted = wire_tuning.parse_create(call.body, call.query)
            with relocating(wire_tuning.CREATE):
                return _operation(self.tuning.create(call.principal, wanted))

        return await call.reply(work)

    async def list_tuned_models(self, request: Request) -> Response:
        """tunedModels.list."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wanted = wire_tuning.parse_list(call.query)
            page = self.tuning.list(
                call.principal, page_size=wanted.page_size, page_token=wanted.page_token, filter=wanted.filter
            )
            return wire_tuning.render_tuned_models(
                ((tuned.model, tuned.job) for tuned in page.items), page.next_page_token
            )

        return await call.reply(work)

    async def get_tuned_model(self, request: Request) -> Response:
        """tunedModels.get."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wire_tuning.refuse_query(call.query)
            tuned = self.tuning.get(call.principal, _model_id(request))
            return wire_tuning.render_tuned_model(tuned.model, tuned.job)

        return await call.reply(work)

    async def delete_tuned_model(self, request: Request) -> Response:
        """tunedModels.delete."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wire_tuning.refuse_query(call.query)
            self.tuning.delete(call.principal, _model_id(request))
            return wire_tuning.render_empty()

        return await call.reply(work)

    async def get_operation(self, request: Request) -> Response:
        """operations.get."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wire_tuning.refuse_query(call.query)
            job_id = JobId(request.path_params["operation"])
            return _operation(self.tuning.get_operation(call.principal, _model_id(request), job_id))

        return await call.reply(work)

    async def cancel_tuning(self, request: Request) -> Response:
        """operations.cancel, and tunedModels.cancel, which has no service behind it but clients that call it."""
        call = await self._enter(request)

        def work(call: Call) -> Typed:
            wire_tuning.refuse_query(call.query)
            wire_tuning.parse_cancel(call.body)
            operation = request.path_params.get("operation")
            self.tuning.cancel(call.principal, _model_id(request), JobId(operation) if operation else None)
            return wire_tuning.render_empty()

        return await call.reply(work)

    async def generate_content(self, request: Request) -> Response:
        """models.generateContent and tunedModels.generateContent."""
        call = await self._enter(request)
        options = call.options.without_sse()
        chunks, model_version = await while_connected(request.receive, self._generate_whole(request, call))
        return await run_in_threadpool(lambda: options.response(wire_generation.render_answer(chunks, model_version)))

    async def stream_generate_content(self, request: Request) -> Response:
        """models.streamGenerateContent and tunedModels.streamGenerateContent."""
        call = await self._enter(request)
        answer = await while_connected(request.receive, self._generate(request, call))
        return stream(answer, call.options)

    async def count_tokens(self, request: Request) -> Response:
        """models.countTokens, and tunedModels.countTokens, which three SDKs send."""
        call = await self._enter(request)
        options = call.options.without_sse()
        wire_tuning.refuse_query(call.query)
        prompt = await run_in_threadpool(wire_generation.parse_count_tokens, call.body)
        with relocating(wire_generation.COUNT):
            counting = self.generation.count_tokens(call.principal, _resource(request), prompt)
            tokens = await while_connected(request.receive, counting)
        return options.response(wire_generation.render_token_count(tokens))

    async def _enter(self, request: Request) -> Call:
        return await Call.of(request, self.access, require_key=self.require_key)

    async def _generate(self, request: Request, call: Call) -> Answer:
        name = _resource(request)
        wire_tuning.refuse_query(call.query)
        wanted = await run_in_threadpool(wire_generation.parse_generate, call.body, name)
        with relocating(wire_generation.GENERATE):
            return await self.generation.generate(call.principal, name, wanted)

    async def _generate_whole(self, request: Request, call: Call) -> tuple[list[Chunk], str]:
        answer = await self._generate(request, call)
        try:
            with relocating(wire_generation.GENERATE):
                return [chunk async for chunk in answer.chunks], answer.model_version
        finally:
            await answer.chunks.aclose()


def _model_id(request: Request) -> TunedModelId:
    return TunedModelId(request.path_params["tuned_model"])


def _resource(request: Request) -> str:
    """The resource name in the path: `models/x` or `tunedModels/x`."""
    if "model" in request.path_params:
        return f"models/{request.path_params['model']}"
    return f"tunedModels/{request.path_params['tuned_model']}"


def _operation(tuned: Tuned) -> Typed:
    return wire_tuning.render_operation(tuned.model, tuned.job)
