"""Gzipped files, unpacked no further than the bound of what is in them."""

import zlib

from tuningfork.training_files.faults import Fault
from tuningfork.training_files.table import Unreadable

BEGINNING = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


def gunzipped(content: bytes, max_bytes: int) -> bytes:
    """What a gzipped file holds; of several members, all of them. More than `max_bytes`: it holds more than that.

    Raises:
        Unreadable: it is damaged or cut off.

    """
    pieces: list[bytes] = []
    size = 0
    rest = content
    while rest.startswith(BEGINNING):
        unpacker = zlib.decompressobj(_GZIP)
        try:
            piece = unpacker.decompress(rest, max_bytes + 1 - size)
        except zlib.error as error:
            raise _damaged() from error
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            return b"".join(pieces)
        if not unpacker.eof:
            raise _damaged()
        rest = unpacker.unused_data
    if rest.strip(b"\0"):
        raise _damaged()
    return b"".join(pieces)


def _damaged() -> Unreadable:
    return Unreadable(Fault(problem="gzipped, and damaged or cut off.", advice="Download or copy it again."))
