"""A file of examples on the caller's disk, CSV, JSON or JSONL by suffix, becomes a dataset.

Every example keeps the place it came from, so that a fault, found here or by the service, is shown where the user can
mend it. What a text may hold and how long it may be is the service's to judge.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuningfork.client.errors import TrainingFileError
from tuningfork.domain.dataset import Dataset, Example

# The Gemini API's own bound for a training file. The examples travel in one request, whose body may be at most 8 MB.
MAX_FILE_BYTES = 4 * 1024 * 1024
# csv's own default of 131,072 is meant against broken quoting; the file's size bounds a cell already.
csv.field_size_limit(MAX_FILE_BYTES)

# JSON can escape half a surrogate pair, which no UTF-8 text can hold.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")

Located = tuple[str, Mapping[str, object]]
"""Where a record is ("line 7"), and its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column holds the input and which the output."""

    text_input: str = "text_input"
    output: str = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFile:
    """What was read. `places[i]` says where `examples[i]` came from, such as "line 7" or "row 3"."""

    examples: Dataset
    places: tuple[str, ...]


def read(path: Path, columns: Columns = Columns()) -> TrainingFile:
    """Read every example of a file.

    Raises:
        TrainingFileError: the suffix is unknown, the file is too large or not text, a column is missing, or a cell is
            empty or no string; the message names line or row, and column.

    """
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise TrainingFileError(
            f"{path} has no suffix that says how to read it.",
            advice=f"Name it {', '.join(f'*{suffix}' for suffix in _PARSERS)}, after its content.",
        )
    try:
        located = [(place, _example(record, place, columns)) for place, record in parse(_text(path), columns)]
    except _Fault as fault:
        raise TrainingFileError(f"{path}, {fault}", advice=fault.advice) from fault
    if not located:
        raise TrainingFileError(f"{path} holds no examples.", advice="At least one is needed; some dozens are better.")
    return TrainingFile(examples=tuple(example for _, example in located), places=tuple(place for place, _ in located))


class _Fault(Exception):
    """What is wrong at a place; `read` adds the file's name."""

    def __init__(self, place: str, problem: str, advice: str = "") -> None:
        super().__init__(f"{place}: {problem}")
        self.advice = advice


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise TrainingFileError(
                f"{path} has {size:,} bytes; a training file may have at most {MAX_FILE_BYTES:,} (4 MB), "
                "because its examples travel to the server in one request.",
                advice="Keep the best examples: a few hundred usually teach as much as many thousands.",
            )
        content = path.read_bytes()
    except OSError as error:
        raise TrainingFileError(f"{path} cannot be read: {error.strerror}.") from error
    # Spreadsheet programs mark UTF-8 and UTF-16 with a byte-order mark, which is no part of the first column's name.
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TrainingFileError(f"{path}, line {line}: not UTF-8 text.", advice="Save the file as UTF-8.") from error


def _csv_records(text: str, columns: Columns) -> Iterator[Located]:
    rows = _csv_rows(text)
    place, header = next(rows, ("line 1", []))
    for column in (columns.text_input, columns.output):
        if header.count(column) != 1:
            raise _Fault(place, *_header_problem(header, column))
    for place, row in rows:
        if len(row) != len(header):
            raise _Fault(
                place,
                f"{len(row)} cells, but the header has {len(header)} columns.",
                "Put a text that holds a comma or a line break in double quotes.",
            )
        yield place, dict(zip(header, row, strict=True))


def _csv_rows(text: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        # A quoted cell may span lines, so a row is named after the line it begins on.
        place = f"line {reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            problem = f"not valid CSV: {error}."
            raise _Fault(place, problem, "Double quotes inside a quoted cell are written twice.") from error
        if row is None:
            return
        if row:
            yield place, row


def _header_problem(header: Sequence[str], column: str) -> tuple[str, str]:
    if column in header:
        return f"two columns are named {column!r}.", "Rename one of them."
    names = ", ".join(repr(name) for name in header) or "none"
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), None)):
        return f"one single column {names}.", f"Its cells are separated by {separator!r}: save it with commas."
    return f"no column {column!r}; the columns are {names}.", "Name it with --input-key or --output-key."


def _json_records(text: str, columns: Columns) -> Iterator[Located]:
    content = _loaded(text, "")
    if isinstance(content, list):
        for number, record in enumerate(content, start=1):
            yield f"row {number}", _object(record, f"row {number}")
        return
    if not isinstance(content, dict):
        raise _Fault("at its top", f"{_kind(content)}; a list of objects or an object of columns is wanted.")
    inputs, outputs = (_column(content, name) for name in (columns.text_input, columns.output))
    if len(inputs) != len(outputs):
        lengths = f"{columns.text_input!r} has {len(inputs)} entries, {columns.output!r} has {len(outputs)}"
        raise _Fault("at its top", f"{lengths}; each input needs its output.")
    for number, (text_input, output) in enumerate(zip(inputs, outputs, strict=True), start=1):
        yield f"row {number}", {columns.text_input: text_input, columns.output: output}


def _jsonl_records(text: str, _columns: Columns) -> Iterator[Located]:
    # Only LF and CRLF end a line: JSON strings may hold other line separators as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _object(_loaded(line, f"line {number}"), f"line {number}")


_PARSERS: dict[str, Callable[[str, Columns], Iterator[Located]]] = {
    ".csv": _csv_records,
    ".json": _json_records,
    ".jsonl": _jsonl_records,
}


def _loaded(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = place or f"line {error.lineno}"
        raise _Fault(where, f"not valid JSON: {error.msg} (character {error.colno}).") from error
    except RecursionError as error:
        raise _Fault(place or "at its top", "nested too deep for a list of examples.") from error


def _object(record: object, place: str) -> Mapping[str, object]:
    if not isinstance(record, dict):
        raise _Fault(place, f"{_kind(record)}; an object with an input and an output is wanted.")
    return record


def _column(content: Mapping[str, object], name: str) -> list[object]:
    if name not in content:
        names = ", ".join(repr(key) for key in content) or "none"
        raise _Fault(
            "at its top", f"no column {name!r}; the columns are {names}.", "Name it with --input-key or --output-key."
        )
    column = content[name]
    if not isinstance(column, list):
        raise _Fault(f"column {name!r}", f"{_kind(column)}; a list of strings is wanted.")
    return column


def _example(record: Mapping[str, object], place: str, columns: Columns) -> Example:
    return Example(_cell(record, columns.text_input, place), _cell(record, columns.output, place))


def _cell(record: Mapping[str, object], column: str, place: str) -> str:
    if column not in record:
        names = ", ".join(repr(name) for name in record) or "none"
        raise _Fault(
            place, f"no column {column!r}; it has {names}.", "Name the columns with --input-key and --output-key."
        )
    cell = record[column]
    where = f"{place}, column {column!r}"
    if not isinstance(cell, str):
        raise _Fault(where, f"{_kind(cell)}; a string is wanted.", "Write numbers in double quotes.")
    if not cell:
        raise _Fault(where, "empty.", "Fill it, or remove the example.")
    if half := _HALF_CHARACTER.search(cell):
        raise _Fault(where, f"{half[0]!r} is half a character.", "Write both halves of the surrogate pair, or itself.")
    return cell


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), f"the number {value}")
