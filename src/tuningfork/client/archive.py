"""The adapter archive on the caller's disk: a tar of plain files becomes a directory, whole or not at all.

A server may be anybody's, so the archive is read block by block, and only what an adapter needs is understood: headers
of plain files. tarfile itself would unpack compressed archives, fill sparse files up with zeros, and read headers that
announce gigabytes.
"""

import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tuningfork.client.errors import ClientError, UnexpectedAnswer

MAX_FILES = 1_000
MAX_BYTES = 16 * 2**30
"""Of the archive. An adapter of rank 64 on a model of 70 billion parameters has about 3 GiB."""
_PIECE_BYTES = 1024 * 1024
_PLAIN = {tarfile.REGTYPE, tarfile.AREGTYPE}


def unpack(pieces: Iterator[bytes], directory: Path, *, max_bytes: int = MAX_BYTES) -> Path:
    """Write the archive's files into a new directory, which is renamed into place at the end.

    The archive may hold only plain files, none of them below a folder, so no name can lead outside and no link can be
    followed.

    Raises:
        ClientError: `directory` is there already and not empty, or cannot be written.
        UnexpectedAnswer: the archive is broken or too large, or holds anything else.

    """
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ClientError(f"{directory} is there already.", advice="Name a new or an empty directory with --to.")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".tuningfork-export-") as aside:
            packed = Path(aside, "adapter.tar")
            with packed.open("wb") as file:
                file.writelines(_within(pieces, max_bytes))
            unpacked = Path(aside, "adapter")
            unpacked.mkdir()
            with packed.open("rb") as archive:
                _write_files(archive, unpacked)
            if directory.exists():
                # Windows renames nothing to a name that is taken, not even by an empty directory.
                directory.rmdir()
            unpacked.replace(directory)
    except OSError as error:
        raise ClientError(f"{directory} cannot be written: {error}.") from error
    return directory


def _within(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise UnexpectedAnswer(f"The adapter archive has more than {max_bytes:,} bytes, which no adapter has.")
        yield piece


def _write_files(archive: BinaryIO, directory: Path) -> None:
    written: set[str] = set()
    while (header := _header(archive)) is not None:
        if header.type not in _PLAIN or not _is_plain(header.name):
            raise UnexpectedAnswer(f"The adapter archive holds {header.name!r}, which is not a plain file.")
        if header.name in written or len(written) == MAX_FILES:
            raise UnexpectedAnswer(
                f"The adapter archive holds {header.name!r} twice, or more than {MAX_FILES:,} files."
            )
        written.add(header.name)
        with (directory / header.name).open("xb") as file:
            _copy(archive, file, header.size)
        archive.seek(-header.size % tarfile.BLOCKSIZE, 1)


def _header(archive: BinaryIO) -> tarfile.TarInfo | None:
    """The next file's header; None at the end, which is a block of zeros, or nothing more."""
    block = archive.read(tarfile.BLOCKSIZE)
    if not block.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise _broken(str(error)) from error
    if header.size < 0:
        raise _broken("a negative size")
    return header


def _copy(archive: BinaryIO, file: BinaryIO, size: int) -> None:
    begin = archive.tell()
    left = size
    while left > 0 and (piece := archive.read(min(left, _PIECE_BYTES))):
        file.write(piece)
        left -= len(piece)
    if left:
        raise _broken(f"it ends within a file, at byte {archive.tell():,} of {begin + size:,}")


def _broken(why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"The adapter archive is broken: {why}.", advice="Export it again.")


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return len(path.parts) == 1 and path.name == name and name != ".." and name.isprintable()
