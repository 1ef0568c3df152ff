"""Disk space that is kept for deleting, which needs some before it frees any.

A database writes before it forgets, so that on a full disk not even a deletion would succeed. A file takes the space
while there is room. When a deletion finds the disk full, the file is removed and the deletion tried again; when there
is room again, the file is made anew.
"""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tuningfork.domain.errors import ResourceExhausted
from tuningfork.store.database import Database, Transaction

Written = TypeVar("Written")
logger = logging.getLogger(__name__)

FILE = "disk-reserve"


class DiskReserve:
    """A file of `size` bytes in a directory, on whose disk the database is. Thread-safe; `size` 0: no file is made."""

    def __init__(self, directory: Path, size: int) -> None:
        self._file = directory / FILE
        self._size = size
        self._lock = threading.Lock()
        self._told = False

    def refill(self) -> bool:
        """Make the file, unless it is there or the disk has less room than twice its size. To be called often.

        Returns:
            Whether the reserve is there.

        """
        if not self._size:
            return False
        with self._lock:
            if self._is_whole():
                return True
            try:
                if shutil.disk_usage(self._file.parent).free >= 2 * self._size:
                    self._allocate()
                    self._told = False
                    return True
            except OSError:
                self._file.unlink(missing_ok=True)
            if not self._told:
                self._told = True
                said = "the disk has no room for the reserve of %d MiB that lets models be deleted when it is full"
                logger.warning(said, self._size // 2**20, extra={"action": "no_disk_reserve"})
            return False

    def write(self, database: Database, write: Callable[[Transaction], Written]) -> Written:
        """Make a write that leads to free space; on a full disk, in the space of the reserve.

        Raises:
            ResourceExhausted: the disk is full, and there is no reserve or it is too small.

        """
        try:
            with database.write() as connection:
                return write(connection)
        except ResourceExhausted:
            if not self.release():
                raise
        with database.write() as connection:
            return write(connection)

    def release(self) -> bool:
        """Remove the file. Returns whether that made any room."""
        with self._lock:
            if not self._file.exists():
                return False
            self._file.unlink()
        logger.warning(
            "the disk is full; the reserve was used to delete something", extra={"action": "disk_reserve_used"}
        )
        return True

    def _is_whole(self) -> bool:
        return self._file.exists() and self._file.stat().st_size == self._size

    def _allocate(self) -> None:
        with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self._size)
            else:
                # Zeros might take no space on a file system that compresses.
                file.write(os.urandom(self._size))


def no_reserve() -> DiskReserve:
    """A reserve of nothing."""
    return DiskReserve(Path(), 0)
