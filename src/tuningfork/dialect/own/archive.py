"""A directory of adapter files as a tar archive that is generated while it is sent."""

import asyncio
import io
import tarfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

_PIECE_BYTES = 1024 * 1024


class AdapterArchive:
    """A tar archive of the files in a directory, with the contents of `replaced`, by file name, in their place or
    besides.

    `size` is its length in bytes.

    All files are opened at the start, so that the archive is complete even if the model is deleted meanwhile.

    Raises:
        OSError: a file cannot be opened.

    """

    def __init__(self, directory: Path, replaced: Mapping[str, bytes] = MappingProxyType({})) -> None:
        with ExitStack() as opening:
            there = {path for path in directory.iterdir() if path.is_file()}
            paths = sorted(there | {directory / name for name in replaced})
            self._files: list[BinaryIO] = [
                io.BytesIO(replaced[path.name]) if path.name in replaced else opening.enter_context(path.open("rb"))
                for path in paths
            ]
            self._opened = opening.pop_all()
        self._heads: list[tarfile.TarInfo] = []
        self.size = 2 * tarfile.BLOCKSIZE
        for path, file in zip(paths, self._files, strict=True):
            head = tarfile.TarInfo(path.name)
            head.size = file.seek(0, 2)
            file.seek(0)
            self._heads.append(head)
            self.size += len(_header(head)) + head.size + _padding(head)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the archive. The files are closed at the end, or when the generator is."""
        with self._opened:
            for head, file in zip(self._heads, self._files, strict=True):
                yield _header(head)
                while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                    yield piece
                yield bytes(_padding(head))
            yield bytes(2 * tarfile.BLOCKSIZE)


def _header(head: tarfile.TarInfo) -> bytes:
    return head.tobuf(tarfile.GNU_FORMAT)


def _padding(head: tarfile.TarInfo) -> int:
    return -head.size % tarfile.BLOCKSIZE
