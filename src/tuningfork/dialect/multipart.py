"""Reads multipart bodies of any size (RFC 2046 section 5.1, RFC 7578) part by part while they arrive.

For `Fed` methods: `multipart/form-data`, `multipart/related` and other types of multipart. Only one piece of the body
is in memory at a time.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tuningfork.dialect.call import BodyStream
from tuningfork.domain.errors import InvalidArgument

# The library logs a warning for each malformed body, which is the caller's fault and is reported to the caller.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

MOST_PARTS = 100
MOST_TEXT_BYTES = 64 * 1024
"""The longest value of a form field that is read into memory."""


class _Mark(Enum):
    PART_ENDED = auto()


@dataclass(frozen=True, slots=True)
class _PartBegan:
    headers: Mapping[str, str]


class Part:
    """One part of a body: its headers and its bytes. It must be read before the next part.

    `name` is the field's name and `filename` the file's, each None if the headers have none; `content_type` is "" if
    the headers have none.
    """

    def __init__(self, headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        disposition = parse_options_header(headers.get("content-disposition", ""))[1]
        self.name = _text_of(disposition.get(b"name"))
        self.filename = _text_of(disposition.get(b"filename"))
        self.content_type = headers.get("content-type", "")
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def text(self, most_bytes: int = MOST_TEXT_BYTES) -> str:
        """The part's bytes as text.

        Raises:
            InvalidArgument: the part has more than `most_bytes`, or is not UTF-8.

        """
        value = b""
        async for piece in self:
            value += piece
            if len(value) > most_bytes:
                raise InvalidArgument(f"The multipart field {self.name!r} has more than {most_bytes} bytes.")
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"The multipart field {self.name!r} is not UTF-8.") from error


class Multipart:
    """The parts of a body, in order. Getting the next part skips the unread rest of the part before.

    Raises:
        InvalidArgument: the body is not multipart, or its `Content-Type` names no boundary.

    """

    def __init__(self, body: BodyStream) -> None:
        media_type, options = parse_options_header(body.content_type)
        boundary = options.get(b"boundary")
        if not media_type.startswith(b"multipart/") or not boundary:
            raise InvalidArgument(
                "The body must be multipart, with its boundary in Content-Type: multipart/form-data; boundary=..."
            )
        self._body = body
        self._headers: dict[str, str] = {}
        self._header_name = self._header_value = b""
        self._read: deque[_PartBegan | bytes | _Mark] = deque()
        self._is_complete = False
        self._part_count = 0
        self._parser = self._parser_of(boundary)

    def __aiter__(self) -> "Multipart":
        return self

    async def __anext__(self) -> Part:
        while (found := await self._next()) is not None:
            if isinstance(found, _PartBegan):
                self._part_count += 1
                if self._part_count > MOST_PARTS:
                    raise InvalidArgument(f"The multipart body has more than {MOST_PARTS} parts.")
                return Part(found.headers, self._pieces())
        raise StopAsyncIteration

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (found := await self._next()) is not None:
            if found is _Mark.PART_ENDED:
                return
            if isinstance(found, bytes):
                yield found

    async def _next(self) -> _PartBegan | bytes | _Mark | None:
        """The next event in the body; None after its last part."""
        while not self._read:
            piece = await anext(self._body, None)
            if piece is None:
                if not self._is_complete:
                    raise _malformed("it ends before its last boundary")
                return None
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise _malformed(str(error)) from error
        return self._read.popleft()

    def _parser_of(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_part,
                    "on_part_data": lambda data, start, end: self._read.append(data[start:end]),
                    "on_part_end": lambda: self._read.append(_Mark.PART_ENDED),
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("latin-1")
        self._header_name = self._header_value = b""

    def _begin_part(self) -> None:
        self._read.append(_PartBegan(self._headers))
        self._headers = {}

    def _complete(self) -> None:
        self._is_complete = True


def _text_of(value: bytes | None) -> str | None:
    """A name in a header, which browsers send in UTF-8."""
    return None if value is None else value.decode("utf-8", "replace")


def _malformed(reason: str) -> InvalidArgument:
    return InvalidArgument(f"The multipart body is malformed: {reason}.")
