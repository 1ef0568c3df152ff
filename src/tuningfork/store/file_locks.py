"""Locks between processes on one directory, by empty files in it. The system releases the locks of a process that ends.

creations  held in shared mode while a dataset is written whose job has no row yet; held exclusively by a server
           that is starting and searches for files without a row
removals   held in shared mode while files are removed that a row has named; held exclusively by a backup
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DIRECTORY = "locks"
CREATIONS = f"{DIRECTORY}/creations"
REMOVALS = f"{DIRECTORY}/removals"

_LOOK_EVERY_SECONDS = 0.05


def create(root: Path) -> None:
    """Create the files of the locks in this data directory, so that a process of another user does not make them."""
    for name in (CREATIONS, REMOVALS):
        if not (root / name).exists():
            (root / name).touch(mode=0o600)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock in shared mode; wait while another process holds it exclusively."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def shared_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock in shared mode unless another process holds it exclusively; yields whether it is held."""
    with path.open("a") as file:
        yield _locked(file.fileno(), fcntl.LOCK_SH)


@contextmanager
def alone(path: Path, patience_seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock exclusively; wait at most `patience_seconds` for it. Yields whether it is held."""
    deadline = time.monotonic() + patience_seconds
    with path.open("a") as file:
        while not (held := _locked(file.fileno(), fcntl.LOCK_EX)) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_SECONDS)
        yield held


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
