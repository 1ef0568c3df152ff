"""What methods that generate text share in Google's dialects: reading bodies, and answers message by message."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from tuningfork.dialect.call import translated_errors
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import Chunk
from tuningfork.service.answering.generation import Answer
from tuningfork.wire.google.generation import GENERATE
from tuningfork.wire.google.proto_json.encode import Typed

Parsed = TypeVar("Parsed")

QUICK_BYTES = 8_192
"""Bodies of up to this size are parsed in the event loop, in some tenths of a millisecond, less than a thread takes to
wake."""


class AnswerMessages(AsyncIterator[Typed]):
    """The chunks of an answer as messages. Closing this closes the answer, even if no message was read.

    Args:
        answer: the answer.
        render: makes the message of a chunk.
        refusals: what is said before the chunks, such as that the prompt was blocked.

    """

    def __init__(self, answer: Answer, render: Callable[[Chunk], Typed], refusals: Iterable[Typed]) -> None:
        self._answer = answer
        self._render = render
        self._refusals = list(refusals)

    async def __anext__(self) -> Typed:
        if self._refusals:
            return self._refusals.pop()
        try:
            chunk = await anext(self._answer.chunks)
        except InvalidArgument:
            with translated_errors(GENERATE):
                raise
        return self._render(chunk)

    async def aclose(self) -> None:
        """Stop the generation."""
        await self._answer.chunks.aclose()


async def parsed(parse: Callable[[bytes], Parsed], body: bytes) -> Parsed:
    """The parsed body. A large body is parsed in a thread, so that the event loop can serve other requests."""
    return parse(body) if len(body) <= QUICK_BYTES else await asyncio.to_thread(parse, body)


async def all_of(answer: Answer) -> list[Chunk]:
    """All chunks of an answer, which is closed at the end."""
    try:
        return [chunk async for chunk in answer.chunks]
    finally:
        await answer.chunks.aclose()
