"""Text and tokens, of base models below publishers and of tuned models at their endpoints."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tuningfork.dialect.answering import AnswerMessages, all_of, parsed
from tuningfork.dialect.call import Awaited, Binding, MessageStream, MethodCall, Streamed, translated_errors
from tuningfork.dialect.vertex.places import PARENTS, place_of
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.domain.base_model import with_prefix
from tuningfork.domain.errors import FailedPrecondition, Unimplemented
from tuningfork.domain.references import BaseRef, ModelRef
from tuningfork.service.answering.generation import Answer, Generation
from tuningfork.service.tuning.endpoints import Endpoints
from tuningfork.service.tuning.registered import NoSuchEndpoint, NoSuchModel
from tuningfork.service.tuning.registry import Registry
from tuningfork.wire.google.generation import COUNT, GENERATE
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.vertex import generation as wire
from tuningfork.wire.vertex.names import number_in, split_version

_ENDPOINTS = "endpoints"


@dataclass(frozen=True, slots=True)
class GenerationMethods:
    """Asking models for text. `clock` gives the time of an answer."""

    generation: Generation
    registry: Registry
    endpoints: Endpoints
    clock: Callable[[], datetime]

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Below projects and without one; tuned models also by their model's name, which the hosted API refuses."""
        callees = ("publishers/{publisher:id}/models/{model:id}", "endpoints/{endpoint:id}", "models/{model:id}")
        return tuple(
            binding
            for parent in PARENTS
            for callee in callees
            for path in [f"{parent}/{callee}"]
            # Without a project, `models/x` is a name of the Gemini API.
            if parent or not callee.startswith("models/")
            for binding in (
                Binding("POST", f"{path}:generateContent", ServingMethod.GENERATE_CONTENT, Awaited(self.generate)),
                Binding(
                    "POST",
                    f"{path}:streamGenerateContent",
                    ServingMethod.STREAM_GENERATE_CONTENT,
                    Streamed(self.stream),
                ),
                Binding("POST", f"{path}:countTokens", ServingMethod.COUNT_TOKENS, Awaited(self.count)),
                Binding("POST", f"{path}:computeTokens", ServingMethod.COMPUTE_TOKENS, Awaited(self.compute)),
                Binding("POST", f"{path}:predict", ServingMethod.PREDICT, Awaited(self.predict)),
                Binding("POST", f"{path}:rawPredict", ServingMethod.PREDICT, Awaited(self.predict)),
            )
        )

    async def generate(self, call: MethodCall) -> Typed:
        """The method generateContent."""
        answer, head = await self._begin(call)
        tables = wire.TABLES[call.version]
        if answer.blocked:
            return wire.render_blocked_prompt(answer.blocked, answer.prompt_tokens, head, tables)
        with translated_errors(GENERATE):
            chunks = await all_of(answer)
        return wire.render_answer(chunks, head, tables)

    async def stream(self, call: MethodCall) -> MessageStream[Typed]:
        """The method streamGenerateContent."""
        answer, head = await self._begin(call)
        return _messages(answer, head, wire.TABLES[call.version])

    async def count(self, call: MethodCall) -> Typed:
        """The method countTokens."""
        refuse_query(call.query)
        tables = wire.TABLES[call.version]
        prompt = await parsed(lambda body: wire.parse_count_tokens(body, tables), call.body)
        asked = await self._asked(call)
        with translated_errors(COUNT):
            tokens = await self.generation.count_tokens(call.principal, asked, prompt)
        return wire.render_token_count(tokens, prompt, tables)

    async def compute(self, call: MethodCall) -> Typed:
        """The method computeTokens: the tokens of each content, without a chat template."""
        refuse_query(call.query)
        tables = wire.TABLES[call.version]
        spoken = await parsed(lambda body: wire.parse_compute_tokens(body, tables), call.body)
        asked = await self._asked(call)
        with translated_errors(wire.COMPUTE):
            tokenized = await self.generation.compute_tokens(call.principal, asked, spoken.texts)
        return wire.render_tokens(spoken, tokenized, tables)

    async def predict(self, call: MethodCall) -> Typed:
        """The methods predict and rawPredict, which models that generate text do not have."""
        if isinstance(await self._asked(call), BaseRef):
            raise Unimplemented("Base models of this server make no embeddings, and have generateContent alone.")
        raise FailedPrecondition("This model does not support predict. Call generateContent or streamGenerateContent.")

    async def _begin(self, call: MethodCall) -> tuple[Answer, wire.VertexHead]:
        refuse_query(call.query)
        tables = wire.TABLES[call.version]
        created = self.clock()
        wanted = await parsed(lambda body: wire.parse_generate(body, tables), call.body)
        asked = await self._asked(call)
        with translated_errors(GENERATE):
            answer = await self.generation.generate(call.principal, asked, wanted)
        version = answer.base.name.removeprefix("models/")
        return answer, wire.VertexHead(model_version=version, response_id=answer.id, created=created)

    async def _asked(self, call: MethodCall) -> ModelRef:
        """The model in the path.

        Raises:
            NotFound: there is no such endpoint or tuned model here, or the caller has no role on it.

        """
        path, place = call.path, place_of(call, "endpoints.predict")
        publisher = path.get("publisher", "")
        # google-genai writes a number alone as a model of Google's; base models have names.
        if publisher and publisher != _ENDPOINTS and number_in(path["model"]) is None:
            # The catalog names no publishers.
            return BaseRef(with_prefix(path["model"]))
        # google-genai makes `publishers/endpoints/models/333` of `endpoints/333`.
        if publisher or "endpoint" in path:
            endpoint = number_in(path["model"] if publisher else path["endpoint"])
            if endpoint is None:
                raise NoSuchEndpoint
            return await asyncio.to_thread(self.endpoints.callee, call.principal, place, endpoint)
        number, version = split_version(path["model"])
        if number is None:
            raise NoSuchModel
        return await asyncio.to_thread(self.registry.callee, call.principal, place, number, version)


def _messages(answer: Answer, head: wire.VertexHead, tables: wire.VertexTables) -> AnswerMessages:
    refused = [wire.render_blocked_prompt(answer.blocked, answer.prompt_tokens, head, tables)] if answer.blocked else []
    return AnswerMessages(answer, wire.ChunkRenderer(head, tables).render, refused)
