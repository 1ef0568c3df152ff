"""Uploads of staged datasets: a file is written piece by piece, read in another process, and its rows are kept."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tuningfork.domain.errors import InvalidArgument, ResourceExhausted
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.staged_dataset import MAX_NAME_CHARACTERS, StagedDataset, StagedDatasetId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.file_reading import FileReaders
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.store import staged_datasets
from tuningfork.store.full_disk import full_disk_reported

MAX_UPLOAD_BYTES = 64 * 2**20
MOST_DATASETS = 50
"""Of one owner."""
MOST_BYTES = 512 * 2**20
"""That the rows and edits of all datasets of one owner take."""
SPARE_BYTES = 256 * 2**20
"""What uploads leave free on the disk, so that the database can still be written."""

_DEFAULT_NAME = "upload"


@dataclass(slots=True)
class Upload:
    """A file that is being uploaded. Closed by `close`, which removes what is left of it."""

    owner: Email
    id: StagedDatasetId
    source_name: str
    display_name: str
    header: bool | None
    path: Path
    free_bytes: Callable[[], int]
    size: int = 0
    _file: BinaryIO | None = field(default=None, repr=False)

    def add(self, piece: bytes) -> None:
        """Write the next bytes.

        Raises:
            ResourceExhausted: the disk has no room.

        """
        if len(piece) + SPARE_BYTES > self.free_bytes():
            raise ResourceExhausted(
                "The server's disk has no room for the file. Try again when its operator has made room."
            )
        with full_disk_reported():
            if self._file is None:
                self._file = self.path.open("xb")
            self._file.write(piece)
        self.size += len(piece)

    @property
    def lines(self) -> Path:
        """Where the rows are written when the file is read."""
        return self.path.with_name(f"{self.path.name}.rows")

    def end(self) -> None:
        """Nothing more arrives."""
        if self._file is not None:
            with full_disk_reported():
                self._file.close()
            self._file = None

    def close(self) -> None:
        """Remove the files that are left."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        for path in (self.path, self.lines):
            path.unlink(missing_ok=True)


class Arrivals:
    """The use case of uploads."""

    def __init__(
        self, shelf: Shelf, readers: FileReaders, *, most_datasets: int = MOST_DATASETS, most_bytes: int = MOST_BYTES
    ) -> None:
        self._shelf = shelf
        self._readers = readers
        self._most_datasets = most_datasets
        self._most_bytes = most_bytes

    def begin(self, principal: Principal, name: str, display_name: str, header: bool | None) -> Upload:
        """A new upload, which the caller closes.

        Raises:
            ResourceExhausted: the caller has too many datasets, or too large ones.

        """
        self._check_room(principal.email, 0)
        dataset_id = StagedDatasetId(random_id(self._shelf.entropy(ID_BITS)))
        while self._shelf.files.has(dataset_id):
            dataset_id = StagedDatasetId(random_id(self._shelf.entropy(ID_BITS)))
        source = PurePosixPath(name.replace("\\", "/")).name[:MAX_NAME_CHARACTERS] or _DEFAULT_NAME
        return Upload(
            owner=principal.email,
            id=dataset_id,
            source_name=source,
            display_name=display_name.strip()[:MAX_NAME_CHARACTERS] or _title(source),
            header=header,
            path=self._shelf.files.arriving(dataset_id),
            free_bytes=self._shelf.files.free_bytes,
        )

    def finish(self, upload: Upload) -> StagedDataset:
        """Read the file that has arrived, and keep its rows. On return they have reached the disk.

        Raises:
            InvalidArgument: it is empty, or no file that can be read.
            ResourceExhausted: the caller has too many datasets, or too large ones, or the disk is full.
            WorkerDied: the reader died twice.

        """
        upload.end()
        if not upload.size:
            raise InvalidArgument("The file is empty. Send the bytes of a file of examples, such as a CSV.")
        try:
            read = self._readers.read(upload.path, upload.source_name, upload.lines, header=upload.header)
        except WorkerDied:
            upload.lines.unlink(missing_ok=True)
            read = self._readers.read(upload.path, upload.source_name, upload.lines, header=upload.header)
        upload.path.unlink()
        self._check_room(upload.owner, upload.lines.stat().st_size)
        size = self._shelf.files.keep_rows(upload.id, upload.lines)
        now = self._shelf.clock()
        dataset = StagedDataset(
            id=upload.id,
            owner=upload.owner,
            display_name=upload.display_name,
            source_name=upload.source_name,
            read=read,
            columns=read.columns,
            columns_settled=read.columns_settled,
            row_count=read.row_count,
            next_row=read.row_count,
            size_bytes=size,
            create_time=now,
            update_time=now,
            use_time=now,
        )
        try:
            with self._shelf.database.write() as connection:
                staged_datasets.insert(connection, dataset)
        except BaseException:
            self._shelf.files.remove(upload.id)
            raise
        return dataset

    def _check_room(self, owner: Email, size: int) -> None:
        with self._shelf.database.read() as connection:
            count, used = staged_datasets.used_by(connection, owner)
        if count >= self._most_datasets:
            raise ResourceExhausted(
                f"You have {count} datasets, and {self._most_datasets} is the most: delete those that you do not need. "
                "They also expire a week after their last use."
            )
        if used + size > self._most_bytes:
            raise ResourceExhausted(
                f"Your datasets would take {(used + size) / 2**20:.0f} MB, and {self._most_bytes / 2**20:.0f} MB is "
                "the most: delete those that you do not need. They also expire a week after their last use."
            )


def _title(source_name: str) -> str:
    """A name for people: the file's without what says its kind, and without bytes that are no text."""
    title = source_name.split(".", 1)[0] or source_name
    return title.encode("utf-8", "replace").decode("utf-8")
