"""Generated text on its way out: server-sent events, or a JSON array that is written as it grows.

Source: gemini-api section 11.3. Events are bare `data:` lines, because older parsers drop anything else; the array
has no byte behind its last bracket, because google-generativeai fails on one.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.responses import Response

from tuningfork.api.disconnects import StreamedResponse
from tuningfork.api.errors import error_json
from tuningfork.api.options import JSON_TYPE, AnswerOptions
from tuningfork.dialect.call import MessageStream
from tuningfork.wire.proto_json.text import write


def stream(messages: MessageStream, options: AnswerOptions) -> Response:
    """The messages in the form that was asked for. Closing the answer closes them."""
    objects = _objects(messages, options)
    if options.sse:
        return StreamedResponse(_events(objects), {"content-type": "text/event-stream", "cache-control": "no-cache"})
    return StreamedResponse(
        _array(objects, lambda value: write(value, pretty=options.pretty)), {"content-type": JSON_TYPE}
    )


async def _objects(messages: MessageStream, options: AnswerOptions) -> AsyncGenerator[dict[str, Any], None]:
    """Every message as a JSON object; a fault on the way becomes the last object, since the status is out already."""
    try:
        async for message in messages:
            yield options.json_of(message)
    except Exception as error:  # noqa: BLE001 - logged and told by error_json
        yield error_json(error)
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
