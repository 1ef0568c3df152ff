"""CSV as RFC 4180 has it, with any of the usual separators: double quotes, quotes inside quotes written twice."""

import csv
import re
from collections.abc import Iterator, Sequence

from tuningfork.training_files import separators
from tuningfork.training_files.bounds import FEWER, MAX_RECORDS
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.table import Cell, Table, Unreadable, below_header, numbered
from tuningfork.training_files.text import decode

_MAX_SEPARATORS = 1_000_000
"""In one row, quoted ones included: a row of nothing else would take more memory than the whole file."""


def read(content: bytes, *, header: bool | None = None, preferred: str = "") -> Table:
    """The table of a CSV file; a row that breaks the rules is a fault of its own.

    Args:
        content: the file.
        header: whether its first row names the columns; None leaves it open, and the row is taken for one.
        preferred: the separator that the file's name speaks for.

    Raises:
        Unreadable: it is not text, or has too many rows, cells or faults.

    """
    return read_text(decode(content), header=header, preferred=preferred)


def read_text(text: str, *, header: bool | None = None, preferred: str = "") -> Table:
    """The table of a text; see `read`."""
    # csv's own default of 131,072 is meant against broken quoting; the file's size bounds a cell already.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    separator, begin = separators.said(text)
    body = text[begin:]
    rows = _rows(body, separator or separators.detected(body, preferred), text.count("\n", 0, begin))
    broken: list[Fault] = []
    for first in rows:
        if isinstance(first, Fault):
            broken.append(first)
            continue
        place, names = first
        if header is False:
            return numbered(len(names), _checked(_again(first, rows), len(names), "first row", broken))
        return below_header(place, names, _checked(rows, len(names), "header", broken))
    return Table(columns=(), rows=(), faults=tuple(broken), header_place="line 1")


def _again(
    first: tuple[str, list[str]], rows: Iterator[tuple[str, list[str]] | Fault]
) -> Iterator[tuple[str, list[str]] | Fault]:
    yield first
    yield from rows


def _rows(text: str, separator: str, lines_before: int) -> Iterator[tuple[str, list[str]] | Fault]:
    lines = _Lines(text, separator)
    reader = csv.reader(lines, strict=True, delimiter=separator)
    for _ in range(MAX_RECORDS):
        # A quoted cell may span lines, so a row is named after the line it begins on.
        place = f"line {lines_before + reader.line_num + 1}"
        lines.begin_row(place)
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield _broken(place, error)
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield place, row
    raise Unreadable(Fault(problem=f"more than {MAX_RECORDS:,} rows, which are not read.", advice=FEWER))


# An io.StringIO would take four bytes for each character.
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


class _Lines:
    """The lines of a text; refuses the ones of a row that could have too many cells, before they are made."""

    def __init__(self, text: str, separator: str) -> None:
        self._lines = _LINE.finditer(text)
        self._separator = separator
        self._place = ""
        self._count = 0

    def begin_row(self, place: str) -> None:
        self._place, self._count = place, 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)[0]
        self._count += line.count(self._separator)
        if self._count > _MAX_SEPARATORS:
            problem = f"more than {_MAX_SEPARATORS:,} {separators.SEPARATORS.get(self._separator, 'separators')}."
            raise Unreadable(Fault(place=self._place, problem=problem, advice="The file may be damaged."))
        return line


def _broken(place: str, error: csv.Error) -> Fault:
    if "unexpected end of data" in str(error):
        problem = "not valid CSV: a cell is opened with a double quote and never closed."
    else:
        problem = f"not valid CSV: {error}."
    return Fault(place=place, problem=problem, advice="Double quotes inside a quoted cell are written twice.")


def _checked(
    rows: Iterator[tuple[str, list[str]] | Fault], width: int, measure: str, broken: Sequence[Fault]
) -> Iterator[tuple[str, Sequence[Cell]] | Fault]:
    yield from broken
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
                problem=f"{len(cells)} cells, but the {measure} has {width} columns.",
                advice="Put a text that holds a separator or a line break in double quotes.",
            )
