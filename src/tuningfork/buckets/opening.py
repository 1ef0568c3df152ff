"""Opens files and directories below a root, and nothing else.

Each name on the way is opened by itself, below the directory before it, and no symbolic link is followed. So nobody who
can change what lies below the root can make the server open something outside of it. Only plain files are opened: a
device or a pipe never is.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _DIRECTORY | os.O_NOFOLLOW
_BUFFER_BYTES = 2**20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def directory_below(root: Path, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The descriptor of a directory below the root.

    The root itself may be, or be reached by, a symbolic link. `make` makes the directories that are missing below it,
    for the server's user only.

    Raises:
        FileNotFoundError: it is not there.
        OSError: a name on the way is no directory (ENOTDIR, ELOOP), or it cannot be opened.

    """
    descriptor = os.open(root, _DIRECTORY)
    try:
        for name in names:
            if make:
                _make(name, descriptor)
            below = os.open(name, _BELOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def status_of(name: str, directory: int) -> os.stat_result:
    """The status of a plain file in a directory.

    Raises:
        FileNotFoundError: there is none; what is no plain file counts as not there.

    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError
    return status


@contextmanager
def file_below(root: Path, names: Sequence[str]) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A plain file below the root, open for reading, with its status; closed at the end.

    Raises:
        FileNotFoundError: there is no plain file.
        OSError: as `directory_below`, or it cannot be opened.

    """
    with directory_below(root, names[:-1]) as directory:
        # Before it is opened: opening a device can already do something.
        status_of(names[-1], directory)
        descriptor = os.open(names[-1], _FILE, dir_fd=directory)
    with os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError
        yield file, status


def _make(name: str, directory: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, mode=0o700, dir_fd=directory)
