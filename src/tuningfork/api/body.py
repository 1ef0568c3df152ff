"""The body of a request: read whole into memory, or passed to a method piece by piece, with a limit in both cases."""

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.requests import Request
from starlette.types import Message

from tuningfork.dialect.form import BodyTooLarge
from tuningfork.domain.errors import InvalidArgument

DRAINED_BYTES = 64 * 1024 * 1024
"""How many bytes of an unwanted body are still received before the connection is closed."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PLAIN = ("", "identity")
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_UNPACKED_PIECE_BYTES = 256 * 1024
_QUOTED_CHARACTERS = 100


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body, decompressed. It may also be a chunked body without `Content-Length`.

    Raises:
        BodyTooLarge: the body has more than `most_bytes`, as sent or decompressed.
        InvalidArgument: its `Content-Encoding` is not supported, or its bytes are not in that encoding.

    """
    pieces: list[bytes] = []
    size = 0
    stream = request.stream()
    async for piece in stream:
        size += len(piece)
        if size > most_bytes:
            pieces.clear()
            await drain(stream)
            raise BodyTooLarge(most_bytes)
        pieces.append(piece)
    return _decompressed(b"".join(pieces), _encoding_of(request), most_bytes)


async def drain(stream: AsyncIterator[bytes]) -> None:
    """Receive the rest of a body and drop it, up to `DRAINED_BYTES`.

    Clients send the whole body before they read the answer. If the connection is closed before, a client sees a broken
    connection instead of the error.
    """
    size = 0
    async for piece in stream:
        size += len(piece)
        if size > DRAINED_BYTES:
            break


class IncomingBody:
    """The body of a request as a `BodyStream`, with one piece in memory at a time.

    `length` is the announced length of the body in bytes; None if it is not announced, or the body is compressed.

    Args:
        request: a request whose body has not been read.
        most_bytes: the largest accepted body, both as sent and as decompressed.

    """

    def __init__(self, request: Request, most_bytes: int) -> None:
        self.content_type = request.headers.get("content-type", "")
        self._encoding = _encoding_of(request)
        announced = request.headers.get("content-length", "")
        self._announced = int(announced) if announced.isdecimal() else None
        self.length = self._announced if self._encoding in _PLAIN else None
        self._most_bytes = most_bytes
        self._receive = request.receive
        self._stream = request.stream()
        self._taken = asyncio.Event()
        sent = self._bounded(self._sent())
        self._pieces = sent if self._encoding in _PLAIN else self._bounded(_unpacked(sent, self._encoding))

    def check_head(self) -> None:
        """Check the headers about the body before any of the body is received.

        Raises:
            BodyTooLarge: `Content-Length` is larger than `most_bytes`.
            InvalidArgument: the `Content-Encoding` is not supported.

        """
        if self._announced is not None and self._announced > self._most_bytes:
            raise BodyTooLarge(self._most_bytes)
        if self._encoding not in (*_PLAIN, *_COMPRESSED):
            raise _unknown_encoding(self._encoding)

    def __aiter__(self) -> "IncomingBody":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def drain(self) -> None:
        """Receive the rest of the body and drop it, as the function `drain` does."""
        await drain(self._stream)

    async def receive_after_body(self) -> Message:
        """Wait for the end of the body, then for the next ASGI message, which says that the caller has left."""
        await self._taken.wait()
        return await self._receive()

    async def _sent(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._stream:
            if piece:
                yield piece
        self._taken.set()

    async def _bounded(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        size = 0
        async for piece in pieces:
            size += len(piece)
            if size > self._most_bytes:
                raise BodyTooLarge(self._most_bytes)
            yield piece


async def _unpacked(pieces: AsyncIterator[bytes], encoding: str) -> AsyncGenerator[bytes, None]:
    """Decompress a body; no piece is larger than `_UNPACKED_PIECE_BYTES`, however well it was compressed."""
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    async for packed in pieces:
        left = packed
        while left:
            try:
                piece = unpacking.decompress(left, _UNPACKED_PIECE_BYTES)
            except zlib.error as error:
                raise _wrongly_packed(encoding, error) from error
            left = unpacking.unconsumed_tail
            if piece:
                yield piece
    if not unpacking.eof:
        raise _cut_off(encoding)


def _decompressed(body: bytes, encoding: str, most_bytes: int) -> bytes:
    if encoding in _PLAIN or not body:
        return body
    if encoding not in _COMPRESSED:
        raise _unknown_encoding(encoding)
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        unpacked = unpacking.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise _wrongly_packed(encoding, error) from error
    if len(unpacked) > most_bytes:
        raise BodyTooLarge(most_bytes)
    if not unpacking.eof:
        raise _cut_off(encoding)
    return unpacked


def _encoding_of(request: Request) -> str:
    return request.headers.get("content-encoding", "identity").strip().lower()


def _unknown_encoding(encoding: str) -> InvalidArgument:
    return InvalidArgument(
        f"Content-Encoding {_quoted(encoding)} is not supported; send the body as it is, or gzipped."
    )


def _wrongly_packed(encoding: str, error: zlib.error) -> InvalidArgument:
    return InvalidArgument(f"The body is not what Content-Encoding {_quoted(encoding)} says: {error}.")


def _cut_off(encoding: str) -> InvalidArgument:
    return InvalidArgument(f"The body ends in the middle of its {encoding} data.")


def _quoted(text: str) -> str:
    quoted = json.dumps(text[:_QUOTED_CHARACTERS], ensure_ascii=False)
    return quoted if len(text) <= _QUOTED_CHARACTERS else f'{quoted[:-1]}..."'
