"""CSV with a header row, as RFC 4180 has it: commas, double quotes, quotes inside quotes written twice."""

import csv
import io
from collections.abc import Iterator, Sequence

from tuningfork.client.errors import Fault
from tuningfork.client.training_files.table import Cell, Table, below_header
from tuningfork.client.training_files.text import decode


def read(content: bytes) -> Table:
    """The table of a CSV file; a row that breaks the rules is a fault of its own.

    Raises:
        Unreadable: it is not text.

    """
    text = decode(content)
    # csv's own default of 131,072 is meant against broken quoting; the file's size bounds a cell already.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    rows = _rows(text)
    broken: list[Fault] = []
    for first in rows:
        if isinstance(first, Fault):
            broken.append(first)
            continue
        place, header = first
        return below_header(place, header, _checked(rows, header, broken))
    return Table(columns=(), rows=(), faults=tuple(broken), header_place="line 1")


def _rows(text: str) -> Iterator[tuple[str, list[str]] | Fault]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        # A quoted cell may span lines, so a row is named after the line it begins on.
        place = f"line {reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield _broken(place, error)
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield place, row


def _broken(place: str, error: csv.Error) -> Fault:
    if "unexpected end of data" in str(error):
        problem = "not valid CSV: a cell is opened with a double quote and never closed."
    else:
        problem = f"not valid CSV: {error}."
    return Fault(place=place, problem=problem, advice="Double quotes inside a quoted cell are written twice.")


def _checked(
    rows: Iterator[tuple[str, list[str]] | Fault], header: Sequence[str], broken: Sequence[Fault]
) -> Iterator[tuple[str, Sequence[Cell]] | Fault]:
    yield from broken
    width = len(header)
    for row in rows:
        if isinstance(row, Fault):
            yield row
            continue
        place, cells = row
        # Spreadsheet programs fill rows up with empty cells.
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if len(cells) == width:
            yield place, cells
        else:
            yield Fault(
                place=place,
                problem=f"{len(cells)} cells, but the header has {width} columns.",
                advice="Put a text that holds a comma or a line break in double quotes.",
            )
