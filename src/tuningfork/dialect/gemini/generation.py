"""GenerativeService's methods: text, streamed text, token counts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tuningfork.dialect.call import Awaited, Binding, MessageStream, MethodCall, Streamed, relocating
from tuningfork.domain.method import Method
from tuningfork.service.generation import Answer, Generation
from tuningfork.wire.gemini import generation as wire
from tuningfork.wire.gemini.tuning import refuse_query
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class GenerationMethods:
    """Asking base and tuned models for text."""

    generation: Generation

    def bindings(self) -> tuple[Binding, ...]:
        """Rows 3 to 5 and 12 to 14 of the route table, the latter also as LiteLLM writes a tuned model's name."""
        return tuple(
            binding
            for one in ("/models/{model:id}", "/tunedModels/{tuned_model:id}", "/models/tunedModels/{tuned_model:id}")
            for binding in (
                Binding("POST", f"{one}:generateContent", Method.GENERATE_CONTENT, Awaited(self.generate)),
                Binding("POST", f"{one}:streamGenerateContent", Method.STREAM_GENERATE_CONTENT, Streamed(self.stream)),
                Binding("POST", f"{one}:countTokens", Method.COUNT_TOKENS, Awaited(self.count)),
            )
        )

    async def generate(self, call: MethodCall) -> Typed:
        """models.generateContent and tunedModels.generateContent."""
        answer = await self._begin(call)
        try:
            with relocating(wire.GENERATE):
                chunks = [chunk async for chunk in answer.chunks]
        finally:
            await answer.chunks.aclose()
        return wire.render_answer(chunks, answer.model_version)

    async def stream(self, call: MethodCall) -> MessageStream:
        """models.streamGenerateContent and tunedModels.streamGenerateContent."""
        return Messages(await self._begin(call))

    async def count(self, call: MethodCall) -> Typed:
        """models.countTokens, and tunedModels.countTokens, which three SDKs send."""
        refuse_query(call.query)
        prompt = await asyncio.to_thread(wire.parse_count_tokens, call.body)
        with relocating(wire.COUNT):
            return wire.render_token_count(await self.generation.count_tokens(call.principal, call.resource, prompt))

    async def _begin(self, call: MethodCall) -> Answer:
        refuse_query(call.query)
        # Megabytes take their time to read, and the loop has others to serve.
        wanted = await asyncio.to_thread(wire.parse_generate, call.body, call.resource)
        with relocating(wire.GENERATE):
            return await self.generation.generate(call.principal, call.resource, wanted)


class Messages(AsyncIterator[Typed]):
    """The pieces of an answer as messages. Closing it closes the answer, also when nothing was read."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __anext__(self) -> Typed:
        with relocating(wire.GENERATE):
            chunk = await anext(self._answer.chunks)
        return wire.render_chunk(chunk, self._answer.model_version)

    async def aclose(self) -> None:
        """Let the generator go."""
        await self._answer.chunks.aclose()
