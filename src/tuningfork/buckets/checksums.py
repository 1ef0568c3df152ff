"""The two checksums that objects have: CRC32C, and MD5, which proves nothing and which clients compare."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, BinaryIO

_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksums:
    """Both, in base64; the CRC32C in the order of the network's bytes."""

    crc32c: str
    md5: str


class Checksumming:
    """Both checksums of the bytes that `add` is given; `size` is how many these were."""

    def __init__(self) -> None:
        import google_crc32c  # noqa: PLC0415 - a library of its own, needed by who writes

        # Its functions have no types.
        untyped: Any = google_crc32c
        self.size = 0
        self._crc32c = untyped.Checksum()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def add(self, piece: bytes) -> None:
        """Take further bytes."""
        self.size += len(piece)
        self._crc32c.update(piece)
        self._md5.update(piece)

    def result(self) -> Checksums:
        """The checksums of all bytes so far."""
        return Checksums(crc32c=_base64(self._crc32c.digest()), md5=_base64(self._md5.digest()))


def checksumming_of(file: BinaryIO) -> Checksumming:
    """The checksums of a file, read from where it is to its end."""
    checksumming = Checksumming()
    while piece := file.read(_PIECE_BYTES):
        checksumming.add(piece)
    return checksumming


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
