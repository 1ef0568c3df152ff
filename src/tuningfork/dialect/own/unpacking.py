"""The archive of an adapter that arrives, written to a directory while it does.

A caller may be anybody. So only headers of plain files are understood, with exactly the names that an adapter has; the
names on the disk are the server's own. Nothing is unpacked, and no piece is kept in memory.
"""

import tarfile
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.peft import CONFIG, WEIGHTS
from tuningfork.wire.peft.config import MOST_CONFIG_BYTES
from tuningfork.wire.peft.weights import MOST_BYTES

MOST_ARCHIVE_BYTES = MOST_BYTES + MOST_CONFIG_BYTES + 2**16

_MOST_FILE_BYTES = {CONFIG: MOST_CONFIG_BYTES, WEIGHTS: MOST_BYTES}
_PLAIN = {tarfile.REGTYPE, tarfile.AREGTYPE}


class Room(Protocol):
    """The room on the disk that the files are written to."""

    def reserve(self, size: int) -> int:
        """Reserve room for the next bytes of a file of which `size` bytes are missing; how many may be written now.

        Raises:
            ResourceExhausted: there is no room for the rest of the file.

        """
        ...


class Unpacking:
    """Writes the two files of an archive to a directory. Closed by its `with` block.

    Room is reserved before the first byte of a file, and again whenever what was reserved has been written. So a file
    whose rest has no room any more is refused while it arrives.
    """

    def __init__(self, directory: Path, room: Room) -> None:
        self._directory = directory
        self._room = room
        self._head = bytearray()
        self._file: BinaryIO | None = None
        self._left = 0
        self._reserved = 0
        self._padding = 0
        self._written: set[str] = set()
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, piece: bytes) -> None:
        """Write the next bytes of the archive.

        Raises:
            InvalidArgument: the archive holds anything but the two files of an adapter.
            ResourceExhausted: the disk has no room.
            OSError: a file cannot be written.

        """
        rest = memoryview(piece)
        while rest and not self._has_ended:
            rest = self._take(rest)

    def finish(self) -> None:
        """Check that both files are whole.

        Raises:
            InvalidArgument: they are not.

        """
        if self._left or self._head:
            raise InvalidArgument("The archive of the adapter ends in the middle of a file.")
        if missing := sorted(_MOST_FILE_BYTES.keys() - self._written):
            raise InvalidArgument(f"The archive of the adapter lacks {' and '.join(missing)}.")

    def _take(self, rest: memoryview) -> memoryview:
        """Use some of the bytes; the others are returned."""
        if self._left:
            if not self._reserved:
                self._reserved = self._room.reserve(self._left)
            used = rest[: min(self._left, self._reserved)]
            assert self._file is not None  # noqa: S101 - a bug of ours
            self._file.write(used)
            self._left -= len(used)
            self._reserved -= len(used)
            self._close_if_whole()
        elif self._padding:
            used = rest[: self._padding]
            self._padding -= len(used)
        else:
            used = rest[: tarfile.BLOCKSIZE - len(self._head)]
            self._head += used
            if len(self._head) == tarfile.BLOCKSIZE:
                self._begin_file(bytes(self._head))
                self._head.clear()
        return rest[len(used) :]

    def _begin_file(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            self._has_ended = True
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise InvalidArgument(f"The body is no tar archive of an adapter: {error}.") from error
        name = header.name
        if name not in _MOST_FILE_BYTES or header.type not in _PLAIN or name in self._written:
            raise InvalidArgument(
                f"The archive of the adapter holds {name[:200]!r}. It must hold {CONFIG} and {WEIGHTS}, once each, as "
                "plain files, and nothing else; pickled weights (.bin) are never read."
            )
        if not 0 < header.size <= _MOST_FILE_BYTES[name]:
            raise InvalidArgument(
                f"{name} has {header.size:,} bytes; it must have 1 to {_MOST_FILE_BYTES[name]:,} of them."
            )
        self._written.add(name)
        self._file = (self._directory / name).open("xb")
        self._reserved = self._room.reserve(header.size)
        self._left, self._padding = header.size, -header.size % tarfile.BLOCKSIZE

    def _close_if_whole(self) -> None:
        if not self._left and self._file is not None:
            self._file.close()
            self._file = None
