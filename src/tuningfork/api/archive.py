"""An adapter directory as a tar archive of plain files, made while it is sent."""

import asyncio
import tarfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path

_PIECE_BYTES = 1024 * 1024


class AdapterArchive:
    """The files of a directory, opened at once, so that a model that is deleted meanwhile is still sent whole.

    `size` is the length of the archive in bytes.

    Raises:
        OSError: a file cannot be opened.

    """

    def __init__(self, directory: Path) -> None:
        with ExitStack() as opening:
            paths = sorted(path for path in directory.iterdir() if path.is_file())
            self._files = [opening.enter_context(path.open("rb")) for path in paths]
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
