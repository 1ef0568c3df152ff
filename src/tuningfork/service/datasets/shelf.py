"""Where the staged datasets of a server are: rows of a table, files, and a memory of where lines are in the files."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from tuningfork.domain.permission import Principal
from tuningfork.domain.staged_dataset import LIFETIME, StagedDataset, StagedDatasetId, StagedDatasetNotFound
from tuningfork.store import staged_datasets
from tuningfork.store.database import Database
from tuningfork.store.staged_rows import RowPlaces, StagedFiles

_REMEMBERED = 8
"""Of how many datasets it is remembered where their lines are: 14 bytes a row, so 34 MB where all are of the largest
size."""
_AN_HOUR = timedelta(hours=1)


class Shelf:
    """The datasets of this server. Thread-safe.

    `clock` returns the time, `entropy` an integer of that many random bits.
    """

    def __init__(
        self, database: Database, files: StagedFiles, clock: Callable[[], datetime], entropy: Callable[[int], int]
    ) -> None:
        self.database = database
        self.files = files
        self.clock = clock
        self.entropy = entropy
        self._lock = threading.Lock()
        self._swept: datetime | None = None
        # Only those that somebody holds or waits for: ids of datasets that are not there come in any number.
        self._editing: WeakValueDictionary[StagedDatasetId, threading.Lock] = WeakValueDictionary()
        self._places: OrderedDict[tuple[StagedDatasetId, int], RowPlaces] = OrderedDict()

    def find(self, principal: Principal, dataset_id: StagedDatasetId) -> StagedDataset:
        """A dataset of the caller. Its time of use is noted, about once an hour.

        Raises:
            StagedDatasetNotFound: there is none of this id, it is somebody else's, or it has expired.

        """
        now = self.clock()
        with self.database.read() as connection:
            found = staged_datasets.find(connection, dataset_id)
        if found is None or found.owner != principal.email or found.expire_time <= now:
            raise StagedDatasetNotFound(dataset_id)
        if now - found.use_time >= _AN_HOUR:
            with self.database.write(durable=False) as connection:
                staged_datasets.touch(connection, dataset_id, now)
        return found

    def places(self, dataset: StagedDataset) -> RowPlaces:
        """Where the lines of a dataset's rows are.

        Raises:
            FailedPrecondition: the files are not on this server, or are damaged.

        """
        key = dataset.id, dataset.revision
        with self._lock:
            if key in self._places:
                self._places.move_to_end(key)
                return self._places[key]
        found = self.files.places(dataset.id, dataset.generation, dataset.edit_numbers)
        with self._lock:
            self._places[key] = found
            while len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)
        return found

    @contextmanager
    def editing(self, dataset_id: StagedDatasetId) -> Iterator[None]:
        """Let nobody else change the dataset's rows within the `with` block."""
        with self._lock:
            lock = self._editing.setdefault(dataset_id, threading.Lock())
        with lock:
            yield

    def forget(self, dataset_id: StagedDatasetId) -> None:
        """Delete a dataset and its files."""
        with self.database.write() as connection:
            staged_datasets.delete(connection, dataset_id)
        self.files.remove(dataset_id)
        with self._lock:
            for key in [key for key in self._places if key[0] == dataset_id]:
                del self._places[key]

    def sweep(self) -> int:
        """Delete the datasets that have expired; returns how many."""
        before = self.clock() - LIFETIME
        with self.database.read() as connection:
            expired = staged_datasets.unused_since(connection, before)
        for dataset_id in expired:
            with self.editing(dataset_id):
                self.forget(dataset_id)
        return len(expired)

    def sweep_hourly(self) -> None:
        """Call `sweep` if the last call was an hour ago; to be called often."""
        now = self.clock()
        with self._lock:
            if self._swept is not None and now - self._swept < _AN_HOUR:
                return
            self._swept = now
        self.sweep()

    def tidy(self) -> None:
        """Remove files without a row: what uploads have left that a crash ended. To be called before the first one."""
        with self.database.read() as connection:
            known = staged_datasets.all_ids(connection)
        self.files.remove_unknown(known)
