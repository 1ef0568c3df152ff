"""Gzipped files, unpacked no further than the bound of what is in them."""

import zlib

from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files.bounds import Bound

BEGINNING = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


def gunzipped(name: str, content: bytes, bound: Bound) -> bytes:
    """What a gzipped file holds; of several members, all of them.

    Raises:
        TrainingFileError: it is damaged or cut off, or holds more than the bound.

    """
    pieces: list[bytes] = []
    size = 0
    rest = content
    while rest.startswith(BEGINNING):
        unpacker = zlib.decompressobj(_GZIP)
        try:
            piece = unpacker.decompress(rest, bound.max_bytes + 1 - size)
        except zlib.error as error:
            raise _damaged(name) from error
        pieces.append(piece)
        size += len(piece)
        if size > bound.max_bytes:
            raise bound.refusal(f"{name}, unpacked,", size)
        if not unpacker.eof:
            raise _damaged(name)
        rest = unpacker.unused_data
    if rest.strip(b"\0"):
        raise _damaged(name)
    return b"".join(pieces)


def _damaged(name: str) -> TrainingFileError:
    return TrainingFileError(f"{name} is gzipped, and damaged or cut off.", advice="Download or copy it again.")
