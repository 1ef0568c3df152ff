"""Bodies of answers within bounds: a server may be anybody's, and send without an end, packed, or nested."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuningfork.client.errors import UnexpectedAnswer

MAX_ANSWER_BYTES = 64 * 2**20
"""Of one answer in JSON; a page of a thousand models, each with many steps, has some megabytes."""
MAX_EVENT_BYTES = 8 * 2**20
MAX_STREAM_BYTES = 64 * 2**20
"""Of all events of a stream, each of which is some hundred bytes of JSON around a piece of text."""
MAX_PAGES = 1_000

TOO_LARGE = "Check that --url names a Tuningfork server."


def whole(pieces: Iterable[bytes], url: str, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """The pieces of a body as one.

    Raises:
        UnexpectedAnswer: there are more bytes than any answer has.

    """
    return b"".join(within(pieces, url, max_bytes))


def within(pieces: Iterable[bytes], url: str, max_bytes: int) -> Iterator[bytes]:
    """The pieces, as long as they are within the bound.

    Raises:
        UnexpectedAnswer: there are more bytes.

    """
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise UnexpectedAnswer(f"{url} answers with more than {max_bytes:,} bytes.", advice=TOO_LARGE)
        yield piece


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body; None if it holds none, or one that is nested too deep."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def events(pieces: Iterable[bytes], url: str) -> Iterator[bytes]:
    """The data of each server-sent event; the dialect writes each in one line.

    Splits at LF only: a splitter that knows Unicode would cut JSON strings at U+2028 or U+0085.

    Raises:
        UnexpectedAnswer: an event, or all of them, have more bytes than a text of a model.

    """
    rest: list[bytes] = []
    size = 0
    for piece in within(pieces, url, MAX_STREAM_BYTES):
        *lines, last = piece.split(b"\n")
        if lines:
            lines[0] = b"".join([*rest, lines[0]])
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > MAX_EVENT_BYTES:
            raise UnexpectedAnswer(f"{url} sends an event of more than {MAX_EVENT_BYTES:,} bytes.", advice=TOO_LARGE)
        yield from (line.removeprefix(b"data:") for line in lines if line.startswith(b"data:"))


def beginning_of(answer: Mapping[str, Any]) -> str:
    """The beginning of an answer; one that is nested too deep to be written is told by its names."""
    try:
        return json.dumps(answer, ensure_ascii=False)[:200]
    except RecursionError:
        return str(list(answer))[:200]
