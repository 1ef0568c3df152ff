"""The body of a request: read to its end, but never more than the limit into memory."""

import zlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.proto_json.scalars import shown
from tuningfork.wire.proto_json.text import MAX_PAYLOAD_BYTES, payload_too_large

DRAINED_BYTES = 8 * MAX_PAYLOAD_BYTES
"""How much is taken of a body that nobody wants, before its sender is cut off after all."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


async def read_body(request: Request) -> bytes:
    """The whole body, decompressed; also of a chunked one that does not say its length.

    Raises:
        InvalidArgument: larger than the limit, packed or unpacked, or packed in a way that is not understood.

    """
    pieces: list[bytes] = []
    size = 0
    stream = request.stream()
    async for piece in stream:
        size += len(piece)
        if size > MAX_PAYLOAD_BYTES:
            pieces.clear()
            await drain(stream)
            raise payload_too_large()
        pieces.append(piece)
    return _decompressed(b"".join(pieces), request.headers.get("content-encoding", "identity").strip().lower())


async def drain(stream: AsyncIterator[bytes]) -> None:
    """Take what is left of a body and forget it, up to `DRAINED_BYTES`.

    A client that is cut off while it sends sees a broken connection instead of the answer that says why.
    """
    size = 0
    async for piece in stream:
        size += len(piece)
        if size > DRAINED_BYTES:
            break


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise InvalidArgument(
            f"Content-Encoding {shown(encoding)} is not supported; send the body as it is, or gzipped."
        )
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        unpacked = unpacking.decompress(body, MAX_PAYLOAD_BYTES + 1)
    except zlib.error as error:
        raise InvalidArgument(f"The body is not what Content-Encoding {shown(encoding)} says: {error}.") from error
    if len(unpacked) > MAX_PAYLOAD_BYTES:
        raise payload_too_large()
    if not unpacking.eof:
        raise InvalidArgument(f"The body ends in the middle of its {encoding} data.")
    return unpacked
