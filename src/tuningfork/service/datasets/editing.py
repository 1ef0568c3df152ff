"""Looking at the rows of staged datasets, and changing them; each change can be undone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tuningfork.domain.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from tuningfork.domain.permission import Principal
from tuningfork.domain.staged_dataset import RowsKind, RowWindow, StagedDataset, StagedDatasetId, StagedRow
from tuningfork.domain.staged_row_lines import line_of
from tuningfork.service.datasets import room
from tuningfork.service.datasets.room import MOST_BYTES
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.store import staged_datasets
from tuningfork.store.staged_rows import RowPlaces

MOST_ROWS_SHOWN = 1_000
MOST_BYTES_SHOWN = 4 * 2**20
MOST_ROWS_ADDED = 5_000
MOST_ROWS = 300_000
MOST_ROW_BYTES = 2 * 2**20
MOST_EDITS = 500
"""How many edits are kept, each in a file of its own. Then the rows are written anew, and undoing begins again."""
MOST_DATASET_BYTES = 192 * 2**20
"""What a dataset and its edits take at most: the largest file, and each of its rows changed about twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of rows. `said` says for people what it does, such as "Removed 2 rows"."""

    said: str
    changed: Iterable[StagedRow] = ()
    added: tuple[StagedRow, ...] = ()
    removed: tuple[int, ...] = ()


class Editing:
    """The use cases of rows. Thread-safe; changes of one dataset come one after the other."""

    def __init__(self, shelf: Shelf, *, most_edits: int = MOST_EDITS, most_bytes: int = MOST_BYTES) -> None:
        self._shelf = shelf
        self._most_bytes = most_bytes
        self._most_edits = most_edits

    def window(self, principal: Principal, dataset_id: StagedDatasetId, start: int, count: int) -> RowWindow:
        """The rows from an index on; fewer than `count` where the dataset ends, or where they are long.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            FailedPrecondition: the rows are not on this server.

        """
        dataset = self._shelf.find(principal, dataset_id)
        places = self._shelf.places(dataset)
        end = min(start + min(count, MOST_ROWS_SHOWN), len(places))
        return RowWindow(dataset=dataset, rows=_bounded(places, range(start, end)))

    def chosen(self, principal: Principal, dataset_id: StagedDatasetId, ids: Sequence[int]) -> RowWindow:
        """The rows with these ids, in the order of the ids given; those that are not there are left out.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            FailedPrecondition: the rows are not on this server.

        """
        dataset = self._shelf.find(principal, dataset_id)
        places = self._shelf.places(dataset)
        found = (places.index(row_id) for row_id in ids[:MOST_ROWS_SHOWN])
        return RowWindow(dataset=dataset, rows=_bounded(places, [each for each in found if each is not None]))

    def row(self, principal: Principal, dataset_id: StagedDatasetId, row_id: int) -> tuple[int, StagedRow]:
        """One row, with its index.

        Raises:
            NotFound: there is no such dataset of the caller, or no such row in it.
            FailedPrecondition: the rows are not on this server.

        """
        dataset = self._shelf.find(principal, dataset_id)
        return _one(self._shelf.places(dataset), dataset, row_id)

    def set(
        self, principal: Principal, dataset_id: StagedDatasetId, row_id: int, change: Callable[[StagedRow], StagedRow]
    ) -> tuple[StagedDataset, int, StagedRow]:
        """Replace a row by what `change` makes of it; returns the dataset, the row's index, and the row.

        Raises:
            NotFound: as in `row`.
            InvalidArgument: the new row does not fit the dataset, or is too long.
            FailedPrecondition: the rows are not on this server.

        """

        def changed(dataset: StagedDataset, places: RowPlaces) -> Change:
            index, before = _one(places, dataset, row_id)
            after = _checked(dataset, change(before))
            return Change(said=f"Changed row {index + 1}", changed=(replace(after, id=row_id, place=before.place),))

        dataset = self.change(principal, dataset_id, changed)
        return dataset, *self.row(principal, dataset_id, row_id)

    def add(
        self, principal: Principal, dataset_id: StagedDatasetId, rows: Sequence[StagedRow]
    ) -> tuple[StagedDataset, tuple[int, ...]]:
        """Add rows at the end; returns the dataset and their ids. The ids in `rows` are ignored.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            InvalidArgument: there are none, too many, or one that does not fit the dataset.
            FailedPrecondition: the rows are not on this server.

        """
        if not 0 < len(rows) <= MOST_ROWS_ADDED:
            raise InvalidArgument(f"rows must have 1 to {MOST_ROWS_ADDED:,} entries; {len(rows):,} were given.")
        ids: list[int] = []

        def added(dataset: StagedDataset, places: RowPlaces) -> Change:
            if len(places) + len(rows) > MOST_ROWS:
                raise InvalidArgument(f"A dataset has at most {MOST_ROWS:,} rows; this one has {len(places):,}.")
            new = tuple(
                replace(_checked(dataset, row), id=dataset.next_row + number, place="")
                for number, row in enumerate(rows)
            )
            ids[:] = [row.id for row in new]
            return Change(said=f"Added {counted(len(new))}", added=new)

        return self.change(principal, dataset_id, added), tuple(ids)

    def remove(self, principal: Principal, dataset_id: StagedDatasetId, ids: Sequence[int]) -> StagedDataset:
        """Remove the rows with these ids; those that are not there any more are left out.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            InvalidArgument: none of them is there.
            FailedPrecondition: the rows are not on this server.

        """

        def removed(_: StagedDataset, places: RowPlaces) -> Change:
            there = tuple(sorted({row_id for row_id in ids if places.index(row_id) is not None}))
            if not there:
                raise InvalidArgument("ids must name at least one row that is there; read the rows again.")
            return Change(said=f"Removed {counted(len(there))}", removed=there)

        return self.change(principal, dataset_id, removed)

    def undo(self, principal: Principal, dataset_id: StagedDatasetId) -> StagedDataset:
        """Take back the last change of rows.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            FailedPrecondition: there is nothing to undo, or the rows are not on this server.

        """
        with self._shelf.editing(dataset_id):
            dataset = self._shelf.find(principal, dataset_id)
            if not dataset.edits:
                raise FailedPrecondition("There is nothing to undo in this dataset.")
            number, now, files = dataset.edits[-1].number, self._shelf.clock(), self._shelf.files
            count = len(files.places(dataset.id, dataset.generation, dataset.edit_numbers[:-1]))
            before = replace(
                dataset,
                revision=dataset.revision + 1,
                edits=dataset.edits[:-1],
                row_count=count,
                size_bytes=max(0, dataset.size_bytes - files.edit_bytes(dataset.id, dataset.generation, number)),
                update_time=now,
                use_time=now,
            )
            self._save(before, dataset.revision)
            files.remove_edit(dataset.id, dataset.generation, number)
            return before

    def change(
        self, principal: Principal, dataset_id: StagedDatasetId, make: Callable[[StagedDataset, RowPlaces], Change]
    ) -> StagedDataset:
        """Change rows as `make` says, which is called while nobody else changes them.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            ResourceExhausted: the disk has no room, or the dataset has become too large, or all of its owner have.
            FailedPrecondition: the rows are not on this server.

        """
        with self._shelf.editing(dataset_id):
            dataset = self._shelf.find(principal, dataset_id)
            room.check_disk(self._shelf.files, 0)
            if len(dataset.edits) >= self._most_edits:
                dataset = self._written_anew(dataset)
            places = self._shelf.places(dataset)
            made = make(dataset, places)
            number, files = dataset.next_edit, self._shelf.files
            rows = (*made.changed, *made.added)
            size = files.write_edit(dataset.id, dataset.generation, number, rows, made.removed)
            edited = dataset.edited(
                made.said,
                row_count=len(places) + len(made.added) - len(made.removed),
                next_row=dataset.next_row + len(made.added),
                size_bytes=dataset.size_bytes + size,
                now=self._shelf.clock(),
            )
            try:
                self._save(edited, dataset.revision, more_bytes=size)
            except BaseException:
                files.remove_edit(dataset.id, dataset.generation, number)
                raise
            return edited

    def _save(self, dataset: StagedDataset, revision: int, *, more_bytes: int = 0) -> None:
        if more_bytes and dataset.size_bytes > MOST_DATASET_BYTES:
            raise ResourceExhausted(
                f"With this change the dataset would take more than {MOST_DATASET_BYTES // 2**20} MB on the server. "
                "Nothing was changed: make the change in the file, and upload it again."
            )
        with self._shelf.database.write() as connection:
            if more_bytes:
                room.lock(connection, dataset.owner)
                _, used = staged_datasets.used_by(connection, dataset.owner)
                room.check_bytes(used, more_bytes, self._most_bytes)
            if not staged_datasets.replace_row(connection, dataset, revision=revision):
                raise FailedPrecondition("The dataset was changed or deleted meanwhile: read it again.")

    def _written_anew(self, dataset: StagedDataset) -> StagedDataset:
        """The dataset with its rows in one file again, and no edits that can be undone."""
        places = self._shelf.places(dataset)
        generation = dataset.generation + 1
        size = self._shelf.files.write_rows(dataset.id, generation, places.read(range(len(places))))
        anew = replace(dataset, generation=generation, edits=(), revision=dataset.revision + 1, size_bytes=size)
        self._save(anew, dataset.revision)
        self._shelf.files.remove_generation(dataset.id, dataset.generation)
        return anew


def counted(rows: int) -> str:
    """So many rows, in words."""
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _bounded(places: RowPlaces, indexes: Sequence[int]) -> tuple[tuple[int, StagedRow], ...]:
    """The first of the rows at these indexes, up to `MOST_BYTES_SHOWN` together, but at least one row."""
    shown: list[tuple[int, StagedRow]] = []
    size = 0
    for index, row in zip(indexes, places.read(indexes), strict=False):
        size += len(line_of(row))
        if shown and size > MOST_BYTES_SHOWN:
            break
        shown.append((index, row))
    return tuple(shown)


def _one(places: RowPlaces, dataset: StagedDataset, row_id: int) -> tuple[int, StagedRow]:
    index = places.index(row_id)
    if index is None:
        raise NotFound(f"datasets/{dataset.id} has no row {row_id}; it may have been removed.")
    return index, next(places.read([index]))


def _checked(dataset: StagedDataset, row: StagedRow) -> StagedRow:
    """The row, if it is of the dataset's kind.

    Raises:
        InvalidArgument: it is not, or it is too long.

    """
    if dataset.read.kind is RowsKind.CONVERSATIONS:
        if row.conversation is None:
            raise InvalidArgument("This dataset has conversations: give `conversation`, and no `cells`.")
    elif row.cells is None or len(row.cells) != len(dataset.columns):
        raise InvalidArgument(
            f"Each row of this dataset has {len(dataset.columns)} cells, one for each column: give as many in `cells`."
        )
    if len(line_of(row)) > MOST_ROW_BYTES:
        raise InvalidArgument(f"A row may take {MOST_ROW_BYTES:,} bytes at most.")
    return row
