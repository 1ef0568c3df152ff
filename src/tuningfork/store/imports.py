"""Adapters that were trained elsewhere, while they arrive: each has a directory of its own until its row is written.

    imports/<job>/adapter/       the files as they arrive
    adapters/<job>/              moved here when the adapter has been tried, before the model's row is written

As long as `imports/<job>` is there, the job's row may not have been written. So a server that starts after a crash
takes an adapter without a row for an unfinished import, and not for that of another database.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

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

STEP_BYTES = 16 * 2**20
"""How much of a file is reserved at a time, 16 MiB."""


def free_bytes(directory: Path) -> int:
    """The free bytes of the disk that holds the directory."""
    return shutil.disk_usage(directory).free


class Reservations:
    """The room that the adapters arriving in this process have reserved, in bytes, counted in memory. Thread-safe.

    Nothing is allocated on the disk, so what a caller says that it will send takes no room from anybody else. Of a
    reservation, what has been written is counted twice until the next one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reserved: dict[JobId, int] = {}

    def replace(self, job_id: JobId, size: int, free: Callable[[], int]) -> int:
        """Reserve the next bytes of a file of which `size` bytes are missing, instead of what the job had reserved.

        Args:
            job_id: the job of the adapter.
            size: all of these bytes have to fit on the disk, of which at most `STEP_BYTES` are reserved.
            free: tells how much room the disk has, in bytes.

        Returns:
            How many bytes are reserved.

        Raises:
            ResourceExhausted: the disk has no room for the file beside what other adapters have reserved.

        """
        with self._lock:
            others = sum(reserved for job, reserved in self._reserved.items() if job != job_id)
            room = max(0, free() - others - SPARE_BYTES)
            if size > room:
                raise ResourceExhausted(
                    f"{size:,} bytes of the adapter are to be written, and the server's disk has room for {room:,}. "
                    "Try again when its operator has made room, for example by deleting tuned models that nobody needs."
                )
            self._reserved[job_id] = min(size, STEP_BYTES)
            return self._reserved[job_id]

    def end(self, job_id: JobId) -> None:
        """Give back what the job has reserved."""
        with self._lock:
            self._reserved.pop(job_id, None)


class ArrivingAdapter:
    """The files of an adapter that no row has yet. Ended by `close`, which removes what was not kept.

    `reservations` are those of all adapters that arrive on the same disk. `free` is for disks of tests.
    """

    def __init__(
        self,
        store: LocalArtifactStore,
        job_id: JobId,
        reservations: Reservations,
        *,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.job_id = job_id
        self._reservations, self._free = reservations, free
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

    def reserve(self, size: int) -> int:
        """Reserve room for the next bytes of a file of which `size` bytes are missing.

        Returns:
            How many bytes may be written before the next call.

        Raises:
            ResourceExhausted: the disk has no room for the rest of the file.

        """
        return self._reservations.replace(self.job_id, size, lambda: self._free(self._place))

    @full_disk_reported()
    def complete(self) -> int:
        """Make the files an artifact, which can be read by its reference.

        Returns:
            32 bits that depend on every byte of the files.

        Raises:
            ResourceExhausted: the disk is full.

        """
        self._reservations.end(self.job_id)
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
        self._reservations.end(self.job_id)
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
