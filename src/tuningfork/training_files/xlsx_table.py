"""XLSX workbooks: the first sheet, its first row that is not empty as the header, cells as a person sees them.

A workbook is a ZIP archive of XML. What it expands to is bounded before anything is parsed, its parts are scanned for
what would take too much memory (`xlsx_scan`), and XML that declares entities is refused (by defusedxml, which openpyxl
uses where it is installed).
"""

import datetime as dt
import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

from tuningfork.training_files import xlsx_scan
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.numbers_as_seen import formatted
from tuningfork.training_files.table import Cell, NoText, Table, Unreadable, below_header, numbered

MAX_EXPANDED_BYTES = 128 * 1024 * 1024
"""Of all parts of a workbook together. Text with its markup packs about ten to one."""
MAX_PARTS = 2_000
MAX_ROWS = 1_048_576
"""What spreadsheet programs themselves can hold; the row numbers in a file may say anything."""

_OLD_BINARY = b"\xd0\xcf\x11\xe0"
# How a workbook spells a carriage return (ECMA-376 part 1, section 22.9.2.19); a line feed follows or is meant.
_CARRIAGE_RETURN = re.compile("_x000[Dd]_\n?|\r\n?")


def read(content: bytes, *, header: bool | None = None) -> Table:
    """The table of a workbook's first sheet; notes tell of what is hidden in it, and of other sheets.

    Args:
        content: the file.
        header: whether its first row names the columns; None leaves it open, and the row is taken for one.

    Raises:
        Unreadable: it is no workbook, a damaged one, one that expands beyond the bounds, or one whose examples are
            not in its first sheet.

    """
    archive = _opened(content)
    try:
        with warnings.catch_warnings():
            # About parts of the workbook that are of no concern here, such as drop-down lists.
            warnings.simplefilter("ignore")
            seen = xlsx_scan.scan(archive)
            rows = _rows(content, seen.first_sheet, with_formulas=seen.has_formulas)
            table = replace(_table(rows, header=header), notes=tuple(seen.notes()))
    except Unreadable:
        raise
    # A parser of foreign files may stumble in any way over a damaged one.
    except Exception as error:
        problem = f"a damaged workbook ({type(error).__name__})."
        raise Unreadable(
            Fault(problem=problem, advice="Open it in a spreadsheet program and save it again.")
        ) from error
    if not table.rows and len(seen.sheets) > 1:
        problem = "its first sheet holds no examples, and the other sheets are not read."
        raise Unreadable(Fault(problem=problem, advice="Move the sheet with the examples to the front."))
    return table


def _table(rows: Iterator[tuple[str, Sequence[Cell]]], *, header: bool | None) -> Table:
    for place, cells in rows:
        names = [cell if isinstance(cell, str) else "" for cell in cells]
        if any(name.strip() for name in names):
            if header is False:
                return numbered(len(cells), chain([(place, cells)], rows))
            return below_header(place, names, rows)
    return Table(columns=(), rows=(), header_place="row 1")


def _opened(content: bytes) -> zipfile.ZipFile:
    if content.startswith(_OLD_BINARY):
        problem = "an old .xls workbook, or one with a password, which is not read."
        raise Unreadable(Fault(problem=problem, advice="Save it as .xlsx, without a password."))
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        parts = archive.infolist()
    except Exception as error:
        raise Unreadable(Fault(problem="not an XLSX workbook.", advice="Save it again as .xlsx.")) from error
    # A part is never read beyond the size that the archive declares for it.
    expanded = sum(part.file_size for part in parts)
    if expanded > MAX_EXPANDED_BYTES or len(parts) > MAX_PARTS:
        raise Unreadable(
            Fault(
                problem=f"it expands to {expanded:,} bytes in {len(parts):,} parts; at most {MAX_EXPANDED_BYTES:,} "
                f"in {MAX_PARTS:,} are read.",
                advice="Save the sheet with the examples as a CSV file.",
            )
        )
    if any(part.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for part in parts):
        raise Unreadable(Fault(problem="packed in a way that no spreadsheet program uses."))
    return archive


def _rows(content: bytes, sheet: str, *, with_formulas: bool) -> Iterator[tuple[str, Sequence[Cell]]]:
    values = _sheet_rows(content, sheet, data_only=True)
    formulas = _sheet_rows(content, sheet, data_only=False) if with_formulas else repeat(())
    for number, (row, sources) in enumerate(zip(values, formulas, strict=False), start=1):
        if not row:
            # A gap in the row numbers; there may be a million of these.
            continue
        cells = [_text(cell) for cell in row]
        for index, source in enumerate(sources):
            if source.data_type == "f" and cells[index] is None:
                cells[index] = _NOT_CALCULATED
        yield f"row {number}", cells


def _sheet_rows(content: bytes, sheet: str, *, data_only: bool) -> Iterator[Sequence[Any]]:
    # A quarter of a second that other files need not spend.
    import openpyxl  # noqa: PLC0415

    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=data_only, keep_links=False)
    if not workbook.worksheets:
        raise Unreadable(Fault(problem="a workbook without a sheet."))
    found = next((each for each in workbook.worksheets if each.title == sheet), workbook.worksheets[0])
    # Some programs declare a range that is smaller than what they wrote.
    found.reset_dimensions()
    yield from found.iter_rows(max_row=MAX_ROWS)


_NOT_CALCULATED = NoText(
    kind="a formula whose result is not stored",
    advice="Open the workbook in a spreadsheet program and save it: that stores the results.",
)


def _text(cell: Any) -> Cell:
    value = cell.value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return formatted(value, cell.number_format or "General") or NoText(kind=f"the number {value}")
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        return _time(value)
    if cell.data_type == "e":
        return NoText(kind=f"the error {value}", advice="Mend the formula, or write the text itself.")
    return None if value is None else _CARRIAGE_RETURN.sub("\n", str(value))


def _time(value: dt.date | dt.time | dt.timedelta) -> str:
    """A date or a time as ISO 8601 has it, whatever its format: that one depends on who looks.

    Fractions of a second are left out: spreadsheet programs have them only by accident.
    """
    if isinstance(value, dt.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        value = value.date()
    return str(value).partition(".")[0]
