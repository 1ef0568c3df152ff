"""What every kind of file becomes: named columns, rows that know their place, and faults that name one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuningfork.client.errors import Fault


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
    """Where the columns are named; "" where each record names its own."""


class Unreadable(Exception):
    """A file of which nothing more can be read; carries all that was found until there."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.problem for fault in faults))
        self.faults = faults


def below_header(
    header_place: str, header: Sequence[str], records: Iterable[tuple[str, Sequence[Cell]] | Fault]
) -> Table:
    """The table of a header and the records below it; cells under no name are left out.

    Args:
        header_place: where the header stands.
        header: the columns' names; "" for a column that has none.
        records: place and cells, at most as many as the header has names, or why a record cannot be read.

    """
    names = [name.strip() for name in header]
    counts = Counter(name for name in names if name)
    rows: list[Row] = []
    faults: list[Fault] = []
    for record in records:
        if isinstance(record, Fault):
            faults.append(record)
            continue
        place, cells = record
        row = Row(place=place, cells={name: cell for name, cell in zip(names, cells, strict=False) if name})
        if not row.is_empty:
            rows.append(row)
    return Table(
        columns=tuple(counts),
        rows=tuple(rows),
        faults=tuple(faults),
        ambiguous=frozenset(name for name, count in counts.items() if count > 1),
        header_place=header_place,
    )


def listed(names: Iterable[str]) -> str:
    """Names as a sentence shows them; a file may have thousands, and long ones."""
    shown = [repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...") for name in names]
    more = ["..."] if len(shown) > _MOST_NAMES else []
    return ", ".join(shown[:_MOST_NAMES] + more) or "none"
