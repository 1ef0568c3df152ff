"""The rows of staged datasets on the disk, and the edits over them.

    staged/<dataset>/rows-<generation>/    rows.jsonl, a row a line; offsets and ids, what finds a row's line
    staged/<dataset>/edits-<g>/<n>         the edits over generation g, with rising numbers: the ids of removed rows in
                                           the first line, then rows that were changed or added, each behind its id
                                           and a tab
    staged/arriving/<dataset>              a file while it is uploaded; its rows while they are read

Rows are never changed in place, and no file's name is used again for other rows that the database has known. Which rows
there are, and where the line of each is, is held in arrays of 14 bytes a row; texts are read when they are asked for.
An edit without its number in the database is no edit: it is replaced by the next one.
"""

import json
import shutil
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuningfork.artifacts.durable import remove
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.staged_dataset import StagedDatasetId, StagedRow
from tuningfork.domain.staged_row_lines import line_of, row_of
from tuningfork.store.full_disk import full_disk_reported

DIRECTORY = "staged"
ARRIVING = f"{DIRECTORY}/arriving"
_ROWS, _OFFSETS, _IDS = "rows.jsonl", "offsets", "ids"


@dataclass(frozen=True, slots=True)
class RowPlaces:
    """Which rows a dataset has, in their order, and where the line of each is. Ids rise.

    `files[file]` is a file; `positions` are offsets in it, in bytes.
    """

    files: tuple[Path, ...]
    ids: "array[int]"
    file_of: "array[int]"
    positions: "array[int]"

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, row_id: int) -> int | None:
        """At which index the row with this id is; None: there is none."""
        at = bisect_left(self.ids, row_id)
        return at if at < len(self.ids) and self.ids[at] == row_id else None

    def read(self, indexes: Iterable[int]) -> Iterator[StagedRow]:
        """The rows at these indexes, read one at a time.

        Raises:
            FailedPrecondition: an edit was undone, the rows were written anew or deleted meanwhile, or are damaged.

        """
        with ExitStack() as opened:
            files: dict[int, BinaryIO] = {}
            for index in indexes:
                yield self._row(index, files, opened)

    def _row(self, index: int, files: dict[int, BinaryIO], opened: ExitStack) -> StagedRow:
        number = self.file_of[index]
        try:
            if number not in files:
                files[number] = opened.enter_context(self.files[number].open("rb"))
            files[number].seek(self.positions[index])
            return row_of(self.ids[index], files[number].readline())
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise FailedPrecondition("The dataset was changed or deleted meanwhile: read it again.") from error


class StagedFiles:
    """The files of all staged datasets below the root of a store."""

    def __init__(self, store: LocalArtifactStore) -> None:
        self._store = store
        self.root = store.root / DIRECTORY

    def arriving(self, dataset_id: StagedDatasetId) -> Path:
        """Where a file is written while it is uploaded. The directory is made."""
        place = self._store.root / ARRIVING
        with full_disk_reported():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place / dataset_id

    def has(self, dataset_id: StagedDatasetId) -> bool:
        """Whether there are files of a dataset of this id."""
        return (self.root / dataset_id).exists()

    def refs(self, dataset_id: StagedDatasetId, generation: int, edits: Sequence[int]) -> list[ArtifactRef]:
        """Every artifact that a dataset of this generation needs, with the edits of these numbers."""
        return [_rows(dataset_id, generation), *(_edit(dataset_id, generation, number) for number in edits)]

    def write_rows(self, dataset_id: StagedDatasetId, generation: int, rows: Iterable[StagedRow]) -> int:
        """Write all rows of a generation; on return they have reached the disk.

        Returns:
            Their size in bytes.

        Raises:
            ResourceExhausted: the disk is full.

        """
        with full_disk_reported(), self._store.writing(_rows(dataset_id, generation)) as place:
            place.mkdir(mode=0o700)
            return _write_rows(place, rows)

    def keep_rows(self, dataset_id: StagedDatasetId, lines: Path) -> int:
        """Make a file of lines the first generation of a dataset, whose rows are numbered from 0.

        Returns:
            Its size in bytes.

        Raises:
            ResourceExhausted: the disk is full.

        """
        with full_disk_reported(), self._store.writing(_rows(dataset_id, 0)) as place:
            place.mkdir(mode=0o700)
            lines.rename(place / _ROWS)
            _index_lines(place)
            return (place / _ROWS).stat().st_size

    def places(self, dataset_id: StagedDatasetId, generation: int, edits: Sequence[int]) -> RowPlaces:
        """Where the rows are after the edits of these numbers.

        Raises:
            FailedPrecondition: the files are not on this server, or are damaged.

        """
        try:
            return self._places(dataset_id, generation, edits)
        except (OSError, ValueError) as error:
            raise FailedPrecondition(
                f"The rows of datasets/{dataset_id} are not on this server, or are damaged. Upload the file again; if "
                "several servers share one database, call the server to which it was uploaded."
            ) from error

    def _places(self, dataset_id: StagedDatasetId, generation: int, edits: Sequence[int]) -> RowPlaces:
        base = self._store.path(_rows(dataset_id, generation))
        files = [base / _ROWS]
        ids, offsets = _array("I", base / _IDS), _array("Q", base / _OFFSETS)
        if len(ids) != len(offsets):
            raise ValueError("as many ids as offsets are wanted")
        changed: dict[int, tuple[int, int]] = {}
        removed: set[int] = set()
        for file, number in enumerate(edits, 1):
            files.append(self._store.path(_edit(dataset_id, generation, number)))
            removed.update(_read_edit(files[-1], file, changed))
        if not changed and not removed:
            return RowPlaces(tuple(files), ids, array("H", bytes(2 * len(ids))), offsets)
        return _merged(tuple(files), (ids, offsets), changed, removed)

    def write_edit(
        self,
        dataset_id: StagedDatasetId,
        generation: int,
        number: int,
        rows: Iterable[StagedRow],
        removed: Sequence[int],
    ) -> int:
        """Write an edit: rows that were changed or added, and the ids of removed ones; durable on return.

        Returns:
            Its size in bytes.

        Raises:
            ResourceExhausted: the disk is full.

        """
        writing = self._store.writing(_edit(dataset_id, generation, number))
        with full_disk_reported(), writing as path, path.open("wb") as file:
            file.write(json.dumps(list(removed), separators=(",", ":")).encode() + b"\n")
            for row in rows:
                file.write(b"%d\t%b" % (row.id, line_of(row)))
            file.flush()
            return file.tell()

    def remove_edit(self, dataset_id: StagedDatasetId, generation: int, number: int) -> None:
        """Remove an edit that was undone."""
        self._store.delete(_edit(dataset_id, generation, number))

    def edit_bytes(self, dataset_id: StagedDatasetId, generation: int, number: int) -> int:
        """The size of an edit, in bytes; 0 if it is not there."""
        try:
            return self._store.path(_edit(dataset_id, generation, number)).stat().st_size
        except FileNotFoundError:
            return 0

    def remove_generation(self, dataset_id: StagedDatasetId, generation: int) -> None:
        """Remove rows and edits that a later generation has replaced."""
        self._store.delete(_rows(dataset_id, generation))
        self._store.delete(ArtifactRef(f"{DIRECTORY}/{dataset_id}/edits-{generation}"))

    def remove(self, dataset_id: StagedDatasetId) -> None:
        """Remove all files of a dataset that exist."""
        self._store.delete(ArtifactRef(f"{DIRECTORY}/{dataset_id}"))

    def remove_unknown(self, known: set[StagedDatasetId]) -> None:
        """Remove what is left of uploads that a crash has ended, and the files of datasets without a row."""
        arriving = self._store.root / ARRIVING
        if arriving.is_dir():
            for path in arriving.iterdir():
                remove(path)
        if self.root.is_dir():
            for path in self.root.iterdir():
                if path != arriving and path.name not in known:
                    self.remove(StagedDatasetId(path.name))

    def free_bytes(self) -> int:
        """The free bytes of the disk."""
        return shutil.disk_usage(self._store.root).free


def _write_rows(place: Path, rows: Iterable[StagedRow]) -> int:
    """Write rows, and what finds them, to files in this directory; returns the size of the rows in bytes."""
    ids, offsets = array("I"), array("Q")
    at = 0
    with (place / _ROWS).open("xb") as file:
        for row in rows:
            ids.append(row.id)
            offsets.append(at)
            at += file.write(line_of(row))
    _write_index(place, ids, offsets)
    return at


def _index_lines(place: Path) -> None:
    """Write what finds the rows of a file that is in this directory already."""
    offsets = array("Q")
    at = 0
    with (place / _ROWS).open("rb") as file:
        for line in file:
            offsets.append(at)
            at += len(line)
    _write_index(place, array("I", range(len(offsets))), offsets)


def _write_index(place: Path, ids: "array[int]", offsets: "array[int]") -> None:
    for name, values in ((_IDS, ids), (_OFFSETS, offsets)):
        if sys.byteorder == "big":
            values.byteswap()
        (place / name).write_bytes(values.tobytes())


def _rows(dataset_id: StagedDatasetId, generation: int) -> ArtifactRef:
    return ArtifactRef(f"{DIRECTORY}/{dataset_id}/rows-{generation}")


def _edit(dataset_id: StagedDatasetId, generation: int, number: int) -> ArtifactRef:
    return ArtifactRef(f"{DIRECTORY}/{dataset_id}/edits-{generation}/{number}")


def _array(code: str, path: Path) -> "array[int]":
    values = array(code)
    values.frombytes(path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _read_edit(path: Path, number: int, changed: dict[int, tuple[int, int]]) -> Sequence[int]:
    """Note where the lines of an edit's rows are, in the file of this number; returns the ids that it removes."""
    with path.open("rb") as file:
        first = file.readline()
        removed: list[int] = json.loads(first)
        at = len(first)
        for line in file:
            changed[int(line.partition(b"\t")[0])] = (number, at)
            at += len(line)
    return removed


def _merged(
    files: tuple[Path, ...],
    base: "tuple[array[int], array[int]]",
    changed: Mapping[int, tuple[int, int]],
    removed: set[int],
) -> RowPlaces:
    ids, file_of, positions = array("I"), array("H"), array("Q")

    def add(row_id: int, file: int, position: int) -> None:
        ids.append(row_id)
        file_of.append(file)
        positions.append(position)

    last = -1
    for row_id, offset in zip(*base, strict=True):
        last = row_id
        if row_id not in removed:
            add(row_id, *changed.get(row_id, (0, offset)))
    for row_id in sorted(each for each in changed if each > last and each not in removed):
        add(row_id, *changed[row_id])
    return RowPlaces(files, ids, file_of, positions)
