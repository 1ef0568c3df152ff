"""Adapters that were trained elsewhere, while they arrive: each has a directory of its own until its row is written.

    imports/<job>/adapter/       the files as they arrive
    adapters/<job>/              moved here when the adapter has been tried, before the model's row is written

As long as `imports/<job>` is there, the job's row may not have been written. So a server that starts after a crash
takes an adapter without a row for an unfinished import, and not for that of another database.
"""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from tuningfork.artifacts.durable import remove
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.artifacts.manifest import DIRECTORY as MANIFESTS
from tuningfork.artifacts.manifest import Manifest
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import file_locks
from tuningfork.store.full_disk import full_disk_reported

DIRECTORY = "imports"
SPARE_BYTES = 128 * 2**20
"""What an arriving adapter leaves free on the disk, 128 MiB, so that the database can still be written."""


_ONE_AT_A_TIME = threading.Lock()
"""Held from the look at the free room until the room is taken."""


def free_bytes(directory: Path) -> int:
    """The room on the disk that holds the directory."""
    return shutil.disk_usage(directory).free


def allocated(descriptor: int, size: int) -> bool:
    """Take room on the disk for the first bytes of an open file; False: the system cannot.

    Raises:
        OSError: the disk is full.

    """
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True


class ArrivingAdapter:
    """The files of an adapter that no row has yet. Ended by `close`, which removes what was not kept.

    `free` and `allocate` are for disks of tests.
    """

    def __init__(
        self,
        store: LocalArtifactStore,
        job_id: JobId,
        *,
        free: Callable[[Path], int] = free_bytes,
        allocate: Callable[[int, int], bool] = allocated,
    ) -> None:
        self.job_id = job_id
        self._free, self._allocate = free, allocate
        self.ref = ArtifactRef(f"{DIRECTORY}/{job_id}/adapter")
        self._store = store
        self._place = store.root / DIRECTORY / job_id
        self._is_unsure = False
        with ExitStack() as opening:
            # A server that starts meanwhile leaves alone what has no row.
            opening.enter_context(file_locks.shared(store.root / file_locks.CREATIONS))
            with full_disk_reported():
                self.directory.mkdir(mode=0o700, parents=True)
            self._opened = opening.pop_all()

    @property
    def directory(self) -> Path:
        """Where the files are written."""
        return self._store.path(self.ref)

    def reserve(self, file: BinaryIO, size: int) -> bool:
        """Take room on the disk for the `size` bytes of a new file before they arrive.

        So adapters that arrive at the same time do not count on the same room.

        Returns:
            Whether the room is taken. Where the system cannot do that, `check_room` may find later that it is gone.

        Raises:
            ResourceExhausted: the disk has no room.

        """
        with _ONE_AT_A_TIME:
            self.check_room(size)
            return self._allocate(file.fileno(), size)

    def check_room(self, size: int) -> None:
        """Check that the disk has room for `size` bytes that are to be written.

        Raises:
            ResourceExhausted: it has not.

        """
        free = self._free(self._place)
        if size + SPARE_BYTES > free:
            raise ResourceExhausted(
                f"{size:,} bytes of the adapter are to be written, and the server's disk has room for "
                f"{max(0, free - SPARE_BYTES):,}. "
                "Try again when its operator has made room, for example by deleting tuned models that nobody needs."
            )

    @full_disk_reported()
    def complete(self) -> int:
        """Make the files an artifact, which can be read by its reference.

        Returns:
            32 bits that depend on every byte of the files.

        Raises:
            ResourceExhausted: the disk is full.

        """
        manifest = Manifest.of(self.directory)
        self._store.place(self.ref, self.directory, manifest)
        return int.from_bytes(hashlib.sha256(manifest.render().encode()).digest()[:4])

    @contextmanager
    def kept_as(self, adapter: ArtifactRef) -> Iterator[None]:
        """Move the complete files to this reference for the `with` block, which writes the row; undone if it raises.

        After an error in which the row may have been written (`be_unsure`), both stay for the next start of a server.
        """
        with full_disk_reported():
            self._store.move(self.ref, adapter)
        try:
            yield
        except BaseException:
            if not self._is_unsure:
                self._store.delete(adapter)
            raise

    @property
    def is_unsure(self) -> bool:
        """Whether the row may have been written or not."""
        return self._is_unsure

    def be_unsure(self) -> None:
        """Remember that the row may have been written or not."""
        self._is_unsure = True

    def close(self) -> None:
        """Remove the directory, unless it is not known whether the row was written."""
        with self._opened:
            if not self._is_unsure:
                forget(self._store.root, self.job_id)


def arriving(root: Path) -> set[JobId]:
    """The jobs whose adapters were arriving when a server was killed, or are arriving now."""
    place = root / DIRECTORY
    return {JobId(path.name) for path in place.iterdir()} if place.is_dir() else set()


def forget(root: Path, job_id: JobId) -> None:
    """Remove what is left of an adapter that was arriving."""
    for place in (root / MANIFESTS / DIRECTORY / job_id, root / DIRECTORY / job_id):
        remove(place)
