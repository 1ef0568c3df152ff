"""Reads a multipart upload while it arrives: a part of JSON, and a part of the object's bytes (RFC 2387).

Lines end with CR LF or with LF alone, as the first line does: gcsfs writes LF. `dialect/multipart.py` reads what
browsers write, with CR LF only.
"""

import re
from collections.abc import AsyncIterator

from tuningfork.dialect.call import BodyStream
from tuningfork.domain.errors import InvalidArgument

MOST_JSON_BYTES = 2**20
_MOST_HEAD_BYTES = 16 * 1024

_BOUNDARY = re.compile(r"""boundary=(?:"([^"]{1,100})"|'([^']{1,100})'|([^\s;"]{1,100}))""", re.IGNORECASE)
_CONTENT_TYPE = re.compile(rb"(?im)^content-type:[ \t]*([^\r\n]*)")


class RelatedUpload:
    """A body of two parts. Read `described`, then the pieces of the second part, then `finish`.

    Raises:
        InvalidArgument: the body is not multipart, or its `Content-Type` names no boundary.

    """

    def __init__(self, body: BodyStream) -> None:
        found = _BOUNDARY.search(body.content_type)
        if not body.content_type.lower().startswith("multipart/") or found is None:
            raise InvalidArgument(
                "An upload with uploadType=multipart has Content-Type: multipart/related; boundary=... and two parts: "
                "the object's JSON and its bytes."
            )
        self._dashed = b"--" + next(each for each in found.groups() if each is not None).encode("latin-1", "replace")
        self._body = body
        self._read = b""
        self._line_end = b"\r\n"
        self.media_type = ""

    async def described(self) -> bytes:
        """The JSON in the first part. Afterwards `media_type` is the type of the second part, "" if it has none.

        Raises:
            InvalidArgument: the body is malformed, or the part too large.

        """
        first = await self._until(b"\n", _MOST_HEAD_BYTES)
        if first.rstrip(b"\r") != self._dashed:
            raise _malformed("it does not begin with its boundary")
        self._line_end = b"\r\n" if first.endswith(b"\r") else b"\n"
        await self._head()
        described = await self._until(self._line_end + self._dashed, MOST_JSON_BYTES)
        if await self._until(self._line_end, _MOST_HEAD_BYTES):
            raise _malformed("it has no second part")
        head = _CONTENT_TYPE.search(await self._head())
        self.media_type = "" if head is None else head[1].decode("latin-1").strip()
        return described

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the second part.

        Raises:
            InvalidArgument: the body ends before its last boundary, or has further parts.

        """
        end = self._line_end + self._dashed
        while True:
            found = self._read.find(end)
            if found >= 0:
                yield self._read[:found]
                self._read = self._read[found + len(end) :]
                break
            # What may be the beginning of the boundary stays.
            sure = len(self._read) - len(end) + 1
            if sure > 0:
                yield self._read[:sure]
                self._read = self._read[sure:]
            await self._more()
        while len(self._read) < len(b"--"):
            await self._more()
        if not self._read.startswith(b"--"):
            raise _malformed("it has more than two parts")

    async def _head(self) -> bytes:
        """The headers of a part, up to its empty line."""
        while len(self._read) < len(self._line_end):
            await self._more()
        if self._read.startswith(self._line_end):
            self._read = self._read[len(self._line_end) :]
            return b""
        return await self._until(2 * self._line_end, _MOST_HEAD_BYTES)

    async def _until(self, end: bytes, most_bytes: int) -> bytes:
        """All before the next `end`, which is passed over."""
        searched = 0
        while (found := self._read.find(end, searched)) < 0:
            if len(self._read) > most_bytes:
                raise _malformed(f"its headers or its JSON have more than {most_bytes} bytes")
            searched = max(0, len(self._read) - len(end))
            await self._more()
        before, self._read = self._read[:found], self._read[found + len(end) :]
        return before

    async def _more(self) -> None:
        piece = await anext(self._body, None)
        if piece is None:
            raise _malformed("it ends before its last boundary")
        self._read += piece


def _malformed(reason: str) -> InvalidArgument:
    return InvalidArgument(f"The multipart body is malformed: {reason}.")
