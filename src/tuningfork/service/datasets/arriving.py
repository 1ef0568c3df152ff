"""Uploads of staged datasets: a file is written piece by piece, read in another process, and its rows are kept."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.staged_dataset import MAX_NAME_CHARACTERS, StagedDataset, StagedDatasetId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.file_reading import FileReaders
from tuningfork.service.datasets import room
from tuningfork.service.datasets.room import MOST_BYTES, MOST_DATASETS
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.store import staged_datasets
from tuningfork.store.full_disk import full_disk_reported
from tuningfork.store.staged_rows import StagedFiles

MAX_UPLOAD_BYTES = 64 * 2**20
_DEFAULT_NAME = "upload"


@dataclass(slots=True)
class Upload:
    """A file that is being uploaded. Closed by `close`, which removes what is left of it."""

    owner: Email
    id: StagedDatasetId
    source_name: str
    display_name: str
    header: bool | None
    files: StagedFiles
    leave: Callable[[], None]
    """Called once, when it is closed."""
    size: int = 0
    is_closed: bool = False
    _file: BinaryIO | None = field(default=None, repr=False)

    def add(self, piece: bytes) -> None:
        """Write the next bytes.

        Raises:
            ResourceExhausted: the disk has no room.

        """
        room.check_disk(self.files, len(piece))
        with full_disk_reported():
            if self._file is None:
                self._file = self.path.open("xb")
            self._file.write(piece)
        self.size += len(piece)

    @property
    def path(self) -> Path:
        """Where the file is written."""
        return self.files.arriving(self.id)

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
        if not self.is_closed:
            self.is_closed = True
            self.leave()


class Arrivals:
    """The use case of uploads."""

    def __init__(
        self, shelf: Shelf, readers: FileReaders, *, most_datasets: int = MOST_DATASETS, most_bytes: int = MOST_BYTES
    ) -> None:
        self._shelf = shelf
        self._readers = readers
        self._most_datasets = most_datasets
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._arriving: Counter[Email] = Counter()

    def begin(self, principal: Principal, name: str, display_name: str, header: bool | None) -> Upload:
        """A new upload, which the caller closes.

        Raises:
            ResourceExhausted: the caller has too many datasets, or too large ones.

        """
        owner = principal.email
        with self._shelf.database.read() as connection:
            count, used = staged_datasets.used_by(connection, owner)
        room.check_bytes(used, 0, self._most_bytes)
        with self._lock:
            # Those that arrive at the same time are counted, so that no more of them come to the disk than may stay.
            room.check_count(count + self._arriving[owner], self._most_datasets)
            self._arriving[owner] += 1
        try:
            return self._begun(owner, name, display_name, header)
        except BaseException:
            self._leave(owner)
            raise

    def _begun(self, owner: Email, name: str, display_name: str, header: bool | None) -> Upload:
        dataset_id = StagedDatasetId(random_id(self._shelf.entropy(ID_BITS)))
        while self._shelf.files.has(dataset_id):
            dataset_id = StagedDatasetId(random_id(self._shelf.entropy(ID_BITS)))
        # U+0000 is in no file's name, and a model would not take a name with it.
        name, display_name = name.replace("\0", ""), display_name.replace("\0", "")
        source = PurePosixPath(name.replace("\\", "/")).name[:MAX_NAME_CHARACTERS] or _DEFAULT_NAME
        return Upload(
            owner=owner,
            id=dataset_id,
            source_name=source,
            display_name=display_name.strip()[:MAX_NAME_CHARACTERS] or _title(source),
            header=header,
            files=self._shelf.files,
            leave=partial(self._leave, owner),
        )

    def _leave(self, owner: Email) -> None:
        with self._lock:
            self._arriving[owner] -= 1
            if self._arriving[owner] <= 0:
                del self._arriving[owner]

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
                room.lock(connection, upload.owner)
                count, used = staged_datasets.used_by(connection, upload.owner)
                room.check_count(count, self._most_datasets)
                room.check_bytes(used, size, self._most_bytes)
                staged_datasets.insert(connection, dataset)
        except BaseException:
            self._shelf.files.remove(upload.id)
            raise
        return dataset


def _title(source_name: str) -> str:
    """A name for people: the file's without what says its kind, and without bytes that are no text."""
    title = source_name.split(".", 1)[0] or source_name
    return title.encode("utf-8", "replace").decode("utf-8")
