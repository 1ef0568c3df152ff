"""What every kind of file becomes: named columns and rows that know their place, or conversations; and faults."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.bounds import FEWER, MAX_CELLS, MAX_COLUMNS, MAX_FAULTS, MAX_ROWS
from tuningfork.training_files.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class NoText:
    """A value that is no text and has no obvious one. `kind` says what it is instead, such as "a list"."""

    kind: str
    advice: str = ""


_MOST_NAMES, _LONGEST_NAME = 20, 60

Cell = str | NoText | None
"""None: nothing is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record. `place` is where a person finds it, such as "line 7"."""

    place: str
    cells: Mapping[str, Cell]

    @property
    def is_empty(self) -> bool:
        """Whether no cell holds more than white space."""
        return all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in self.cells.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's columns, in order, its rows that are not empty, and what was wrong with the others."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()
    ambiguous: frozenset[str] = frozenset()
    """Names that more than one column has."""
    header_place: str = ""
    """Where the columns are named; "" where each record names its own, and where the columns are only numbered."""
    is_numbered: bool = False
    """Whether the columns have no names and are numbered from 1."""
    notes: tuple[str, ...] = ()
    """What a person should know of the file before it is used, each a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedConversation:
    """A conversation, and where a person finds it."""

    place: str
    conversation: Conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """A file of whole conversations, and what was wrong with the others in it. `form` is the name of their format."""

    form: str
    placed: tuple[PlacedConversation, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


class Unreadable(Exception):
    """A file of which nothing more can be read; carries all that was found until there."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.problem for fault in faults))
        self.faults = faults


class FaultsSoFar:
    """Collects what is wrong with a file, up to as much as is worth collecting."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._found: list[Fault] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Note them.

        Raises:
            Unreadable: there are so many that reading stops; carries all of them.

        """
        self._found.extend(faults)
        if len(self._found) >= MAX_FAULTS:
            raise Unreadable(*self._found[:MAX_FAULTS])

    @property
    def found(self) -> tuple[Fault, ...]:
        """All of them, in the order in which they were found."""
        return tuple(self._found)


class RowCount:
    """Counts rows and cells while they are read, so that a small file cannot become a large amount of memory."""

    def __init__(self) -> None:
        self._rows = self._cells = 0

    def add(self, cells: int) -> None:
        """Count a row with so many cells.

        Raises:
            Unreadable: it is one too many, or too wide.

        """
        self._rows += 1
        self._cells += cells
        if cells > MAX_COLUMNS:
            raise Unreadable(Fault(problem=f"{cells:,} columns; at most {MAX_COLUMNS:,} are read.", advice=FEW_COLUMNS))
        if self._rows > MAX_ROWS:
            raise Unreadable(Fault(problem=f"more than {MAX_ROWS:,} rows, which are not read.", advice=FEWER))
        if self._cells > MAX_CELLS:
            raise Unreadable(Fault(problem=f"more than {MAX_CELLS:,} cells, which are not read.", advice=FEW_COLUMNS))


FEW_COLUMNS = "Save the columns of the examples alone."


def below_header(
    header_place: str, header: Sequence[str], records: Iterable[tuple[str, Sequence[Cell]] | Fault]
) -> Table:
    """The table of a header and the records below it; cells under no name are left out.

    Args:
        header_place: where the header stands; "" if the columns are named elsewhere.
        header: the columns' names; "" for a column that has none.
        records: place and cells, at most as many as the header has names, or why a record cannot be read.

    Raises:
        Unreadable: there are too many rows, cells or faults.

    """
    names = [name.strip() for name in header]
    counts = Counter(name for name in names if name)
    rows: list[Row] = []
    faults, count = FaultsSoFar(), RowCount()
    count.add(len(names))
    for record in records:
        if isinstance(record, Fault):
            faults.add(record)
            continue
        place, cells = record
        row = Row(place=place, cells={name: cell for name, cell in zip(names, cells, strict=False) if name})
        if not row.is_empty:
            count.add(len(row.cells))
            rows.append(row)
    return Table(
        columns=tuple(counts),
        rows=tuple(rows),
        faults=faults.found,
        ambiguous=frozenset(name for name, count in counts.items() if count > 1),
        header_place=header_place,
    )


def numbered(width: int, records: Iterable[tuple[str, Sequence[Cell]] | Fault]) -> Table:
    """The table of records without a header: their columns are called "1", "2" and so on.

    Raises:
        Unreadable: there are too many rows, cells or faults.

    """
    return replace(below_header("", [str(number) for number in range(1, width + 1)], records), is_numbered=True)


def listed(names: Iterable[str]) -> str:
    """Names as a sentence shows them; a file may have thousands, and long ones."""
    shown = [repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...") for name in names]
    more = ["..."] if len(shown) > _MOST_NAMES else []
    return ", ".join(shown[:_MOST_NAMES] + more) or "none"
