"""Streams generated text: as server-sent events, or as a JSON array that is written while it grows.

Source: gemini-api section 11.3. Events have only a `data:` line, since older parsers drop all other lines; the array
has no byte after its last bracket, since google-generativeai fails on one.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from tuningfork.api.google.errors import error_json
from tuningfork.api.google.options import JSON_TYPE, AnswerOptions
from tuningfork.dialect.call import MessageStream
from tuningfork.dialect.form import StreamedAnswer
from tuningfork.wire.google.errors import ErrorWords
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import write


def stream(messages: MessageStream[Typed], options: AnswerOptions, words: ErrorWords) -> StreamedAnswer:
    """The messages in the format that the options ask for. Closing the answer closes the messages."""
    objects = _objects(messages, options, words)
    if options.sse:
        events = _events(objects)
        return StreamedAnswer(content_type="text/event-stream", pieces=events, headers={"cache-control": "no-cache"})
    array = _array(objects, lambda value: write(value, pretty=options.pretty))
    return StreamedAnswer(content_type=JSON_TYPE, pieces=array, headers={})


async def _objects(
    messages: MessageStream[Typed], options: AnswerOptions, words: ErrorWords
) -> AsyncGenerator[dict[str, Any], None]:
    """Every message as a JSON object. An error becomes the last object, since the status has been sent already."""
    try:
        async for message in messages:
            yield options.json_of(message)
    except Exception as error:  # noqa: BLE001 - error_json logs and renders the error
        yield error_json(error, words)
    finally:
        await messages.aclose()


async def _events(objects: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    try:
        async for value in objects:
            yield f"data: {write(value, pretty=False)}\r\n\r\n".encode("utf-8", "replace")
    finally:
        await objects.aclose()


async def _array(
    objects: AsyncGenerator[dict[str, Any], None], written: Callable[[Any], str]
) -> AsyncGenerator[bytes, None]:
    separator = "["
    try:
        async for value in objects:
            yield f"{separator}{written(value)}".encode("utf-8", "replace")
            separator = ",\r\n"
    finally:
        await objects.aclose()
    yield b"[]" if separator == "[" else b"]"
