"""GenerativeService's methods: text, streamed text, token counts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from tuningfork.dialect.call import Awaited, Binding, MessageStream, MethodCall, Streamed, relocating
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import Chunk
from tuningfork.domain.method import Method
from tuningfork.service.generation import Answer, Generation
from tuningfork.wire.gemini import generation as wire
from tuningfork.wire.gemini.answers import (
    AnswerHead,
    ChunkRenderer,
    render_answer,
    render_blocked_prompt,
    render_token_count,
)
from tuningfork.wire.gemini.text import GENERATE_TEXT, parse_generate_text, render_blocked_text, render_text_answer
from tuningfork.wire.gemini.tuning import refuse_query
from tuningfork.wire.proto_json.encode import Typed

Parsed = TypeVar("Parsed")

QUICK_BYTES = 8_192
"""Bodies of so many are read at once, in some tenths of a millisecond; a thread would take longer to wake."""


@dataclass(frozen=True, slots=True)
class GenerationMethods:
    """Asking base and tuned models for text."""

    generation: Generation

    def bindings(self) -> tuple[Binding, ...]:
        """Rows 3 to 5 and 12 to 15 of the route table, the latter also as LiteLLM writes a tuned model's name."""
        return tuple(
            binding
            for one in ("/models/{model:id}", "/tunedModels/{tuned_model:id}", "/models/tunedModels/{tuned_model:id}")
            for binding in (
                Binding("POST", f"{one}:generateContent", Method.GENERATE_CONTENT, Awaited(self.generate)),
                Binding("POST", f"{one}:streamGenerateContent", Method.STREAM_GENERATE_CONTENT, Streamed(self.stream)),
                Binding("POST", f"{one}:countTokens", Method.COUNT_TOKENS, Awaited(self.count)),
                Binding("POST", f"{one}:generateText", Method.GENERATE_TEXT, Awaited(self.generate_text)),
            )
        )

    async def generate(self, call: MethodCall) -> Typed:
        """models.generateContent and tunedModels.generateContent."""
        answer = await self._begin(call)
        if answer.blocked:
            return _refusal(answer)
        with relocating(wire.GENERATE):
            chunks = await _all_of(answer)
        return render_answer(chunks, _head(answer))

    async def generate_text(self, call: MethodCall) -> Typed:
        """models.generateText and tunedModels.generateText, of the PaLM generation."""
        refuse_query(call.query)
        wanted = await _parsed(parse_generate_text, call.body)
        with relocating(GENERATE_TEXT):
            answer = await self.generation.generate(call.principal, call.resource, wanted, method="generateText")
            if answer.blocked:
                return render_blocked_text(answer.blocked)
            return render_text_answer(await _all_of(answer))

    async def stream(self, call: MethodCall) -> MessageStream:
        """models.streamGenerateContent and tunedModels.streamGenerateContent."""
        return Messages(await self._begin(call))

    async def count(self, call: MethodCall) -> Typed:
        """models.countTokens, and tunedModels.countTokens, which three SDKs send."""
        refuse_query(call.query)
        prompt = await _parsed(lambda body: wire.parse_count_tokens(body, call.resource), call.body)
        with relocating(wire.COUNT):
            return render_token_count(await self.generation.count_tokens(call.principal, call.resource, prompt))

    async def _begin(self, call: MethodCall) -> Answer:
        refuse_query(call.query)
        wanted = await _parsed(wire.parse_generate, call.body)
        with relocating(wire.GENERATE):
            return await self.generation.generate(call.principal, call.resource, wanted)


class Messages(AsyncIterator[Typed]):
    """The pieces of an answer as messages. Closing it closes the answer, also when nothing was read."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._renderer = ChunkRenderer(_head(answer))
        self._refusals = [_refusal(answer)] if answer.blocked else []

    async def __anext__(self) -> Typed:
        if self._refusals:
            return self._refusals.pop()
        try:
            chunk = await anext(self._answer.chunks)
        except InvalidArgument:
            with relocating(wire.GENERATE):
                raise
        return self._renderer.render(chunk)

    async def aclose(self) -> None:
        """Let the generator go."""
        await self._answer.chunks.aclose()


async def _parsed(parse: Callable[[bytes], Parsed], body: bytes) -> Parsed:
    """What a body says. Megabytes take their time to read, and the loop has others to serve."""
    return parse(body) if len(body) <= QUICK_BYTES else await asyncio.to_thread(parse, body)


async def _all_of(answer: Answer) -> list[Chunk]:
    try:
        return [chunk async for chunk in answer.chunks]
    finally:
        await answer.chunks.aclose()


def _refusal(answer: Answer) -> Typed:
    return render_blocked_prompt(answer.blocked, answer.prompt_tokens, _head(answer))


def _head(answer: Answer) -> AnswerHead:
    return AnswerHead(model_version=answer.model_version, response_id=answer.id)
