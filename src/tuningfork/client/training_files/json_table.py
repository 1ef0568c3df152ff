"""JSON and JSONL: a list of records, an object of columns, or a record a line; a record is an object or a pair."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from tuningfork.client.errors import Fault
from tuningfork.client.training_files.numbers_as_seen import general
from tuningfork.client.training_files.table import Cell, NoText, Row, Table, Unreadable, listed
from tuningfork.client.training_files.text import decode

PAIR_COLUMNS = ("text_input", "output")
"""What the two texts of a pair are called."""

_TOP = "at its top"


class _Written(str):
    """A number as the file writes it: no digit is lost or added on its way to text."""

    __slots__ = ()


def read_json(content: bytes) -> Table:
    """The table of a JSON file.

    Raises:
        Unreadable: it is not text, not JSON, or neither a list of records nor an object of columns.

    """
    text = decode(content)
    try:
        return of_objects(_loaded(text))
    except json.JSONDecodeError as error:
        advice = ""
        if error.msg == "Extra data":
            advice = "A file with one object a line is named *.jsonl."
        raise Unreadable(_not_json(f"line {error.lineno}", error, advice)) from error
    except _TooDeep as error:
        raise Unreadable(Fault(place=_TOP, problem=str(error))) from error


def read_jsonl(content: bytes) -> Table:
    """The table of a file with one record a line; each line that is none is a fault of its own.

    Raises:
        Unreadable: it is not text.

    """
    # Only LF and CRLF end a line: JSON strings may hold other line separators as they are.
    lines = enumerate(decode(content).split("\n"), start=1)
    return _of_records(((f"line {number}", line) for number, line in lines if line.strip()), _loaded)


def of_objects(content: object) -> Table:
    """The table of a list of records or of an object of columns.

    Raises:
        Unreadable: it is neither.

    """
    if isinstance(content, Mapping):
        return _of_columns(content)
    if isinstance(content, str) or not isinstance(content, Iterable):
        raise Unreadable(
            Fault(place=_TOP, problem=f"{_kind(content)}; a list of objects or an object of columns is wanted.")
        )
    return _of_records(((f"row {number}", record) for number, record in enumerate(content, start=1)), lambda row: row)


class _TooDeep(Exception):
    def __init__(self) -> None:
        super().__init__("nested too deep for a list of examples.")


def _loaded(text: str) -> object:
    def refuse(name: str) -> object:
        return NoText(kind=f"the number {name}")

    try:
        return json.loads(text, parse_int=_Written, parse_float=_Written, parse_constant=refuse)
    except RecursionError as error:
        raise _TooDeep from error


def _of_records(records: Iterable[tuple[str, Any]], load: Callable[[Any], object]) -> Table:
    columns: dict[str, None] = {}
    rows: list[Row] = []
    faults: list[Fault] = []
    for place, record in records:
        try:
            cells = _cells(load(record))
        except json.JSONDecodeError as error:
            faults.append(_not_json(place, error))
            continue
        except (_TooDeep, _NoRecord) as error:
            faults.append(Fault(place=place, problem=str(error)))
            continue
        columns |= dict.fromkeys(cells)
        row = Row(place=place, cells=cells)
        if not row.is_empty:
            rows.append(row)
    return Table(columns=tuple(columns), rows=tuple(rows), faults=tuple(faults))


class _NoRecord(Exception):
    pass


def _cells(record: object) -> dict[str, Cell]:
    if isinstance(record, Mapping):
        return {str(name): _cell(value) for name, value in record.items()}
    if isinstance(record, Sequence) and not isinstance(record, str) and len(record) == len(PAIR_COLUMNS):
        return {name: _cell(value) for name, value in zip(PAIR_COLUMNS, record, strict=True)}
    raise _NoRecord(f"{_kind(record)}; an object, or a pair of an input and an output, is wanted.")


def _of_columns(content: Mapping[Any, object]) -> Table:
    columns = {str(name): list(column) for name, column in content.items() if _is_column(column)}
    if not columns:
        name, value = next(iter(content.items()), ("", None))
        problem = f"column {str(name)!r}: {_kind(value)}; a list of strings is wanted." if content else "it is empty."
        raise Unreadable(Fault(place=_TOP, problem=problem))
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{listed([name])} has {length} entries" for name, length in list(lengths.items())[:10])
        raise Unreadable(Fault(place=_TOP, problem=f"{told}; each input needs its output."))
    rows = (
        Row(place=f"row {number}", cells={name: _cell(value) for name, value in zip(columns, values, strict=True)})
        for number, values in enumerate(zip(*columns.values(), strict=True), start=1)
    )
    return Table(columns=tuple(columns), rows=tuple(row for row in rows if not row.is_empty))


def _is_column(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | NoText)


def _cell(value: object) -> Cell:
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, NoText):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = general(value)
        if text is not None:
            return text
    return NoText(kind=_kind(value), advice="Write it as a string, in double quotes.")


def _not_json(place: str, error: json.JSONDecodeError, advice: str = "") -> Fault:
    return Fault(place=place, problem=f"not valid JSON: {error.msg} (character {error.colno}).", advice=advice)


_KINDS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (_Written, lambda value: f"the number {_short(value)}"),
    (str, lambda _: "a string"),
    (bool, lambda _: "true or false"),
    ((int, float), lambda value: f"the number {_short(value)}"),
    (Mapping, lambda _: "an object"),
    (Sequence, lambda value: f"a list of {len(value)}"),
    (type(None), lambda _: "null"),
)


def _kind(value: object) -> str:
    if isinstance(value, NoText):
        return value.kind
    return next((tell(value) for kind, tell in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")


def _short(number: object) -> str:
    text = str(number)
    return text if len(text) <= 40 else f"{text[:40]}..."
