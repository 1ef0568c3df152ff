"""JSON: records, each an object, a pair or a conversation, in a list, one a line, or somewhere inside of an object."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeGuard

from tuningfork.training_files import conversations
from tuningfork.training_files.bounds import MAX_COLUMNS
from tuningfork.training_files.conversations import Form, Wrong
from tuningfork.training_files.conversations.form import is_list, is_list_of_objects
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.json_values import TOP, Placed, kind, values
from tuningfork.training_files.numbers_as_seen import general
from tuningfork.training_files.table import (
    Cell,
    Conversations,
    FaultsSoFar,
    NoText,
    PlacedConversation,
    Row,
    RowCount,
    Table,
    Unreadable,
    listed,
)
from tuningfork.training_files.text import decode

PAIR_COLUMNS = ("text_input", "output")
"""What the two texts of a pair are called."""

_MOST_DEPTH = 6
"""How deep in an object its list of examples is looked for."""


def read(content: bytes) -> Table | Conversations:
    """What a JSON file holds.

    Raises:
        Unreadable: it is not text, not JSON, or holds no records.

    """
    return read_text(decode(content))


def read_text(text: str) -> Table | Conversations:
    """What a JSON text holds; see `read`."""
    found, faults = values(text)
    if len(found) == 1 and not faults:
        return of_objects(found[0].value)
    return _of_records(found, faults)


def of_objects(content: object) -> Table | Conversations:
    """The table or the conversations of a list of records, an object of columns, or an object that wraps a list.

    Raises:
        Unreadable: it is none of these.

    """
    if isinstance(content, Mapping):
        return _of_object(content)
    if isinstance(content, str | NoText) or not isinstance(content, Iterable):
        raise Unreadable(
            Fault(place=TOP, problem=f"{kind(content)}; a list of objects or an object of columns is wanted.")
        )
    records = [content] if _is_pair(content) else content
    return _of_records(Placed(f"row {number}", record) for number, record in enumerate(records, start=1))


def _of_object(content: Mapping[Any, object]) -> Table | Conversations:
    if conversations.form_of(content) is not None:
        return _of_records([Placed(TOP, content)])
    lists = list(_lists_of_records(content, (), _MOST_DEPTH))
    if len(lists) > 1:
        named = listed(".".join(path) for path, _ in lists)
        problem = f"several lists of records: {named}."
        raise Unreadable(Fault(place=TOP, problem=problem, advice="Save the one with the examples as a file."))
    if lists:
        records = lists[0][1]
        return _of_records(Placed(f"row {number}", record) for number, record in enumerate(records, start=1))
    if content and not any(_is_column(value) or isinstance(value, Mapping) for value in content.values()):
        return _of_records([Placed(TOP, content)])
    return _of_columns(content)


def _lists_of_records(
    content: Mapping[Any, object], path: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], Sequence[Any]]]:
    """Every list of objects or of pairs in an object, with the names that lead to it; not those inside of others."""
    for name, value in content.items():
        here = (*path, str(name))
        if is_list_of_objects(value) or (is_list(value) and value and all(map(_is_pair, value))):
            yield here, value
        elif isinstance(value, Mapping) and depth > 0:
            yield from _lists_of_records(value, here, depth - 1)


def _of_records(records: Iterable[Placed], faults: Sequence[Fault] = ()) -> Table | Conversations:
    """What these records are, judged by the first: conversations of one format, or rows of columns."""
    placed = (Placed(record.place, _unpacked(record.value)) for record in records)
    first = next(placed, None)
    if first is None:
        return Table(columns=(), rows=(), faults=tuple(faults))
    form = conversations.form_of(first.value)
    everything = chain([first], placed)
    return _table(everything, faults) if form is None else _conversations(everything, faults, form)


def _unpacked(record: object) -> object:
    """A record without the number that data set viewers put around it: `{"row_idx": 0, "row": {...}}`."""
    is_wrapped = isinstance(record, Mapping) and "row_idx" in record and isinstance(record.get("row"), Mapping)
    return record["row"] if is_wrapped else record  # type: ignore[index]


def _conversations(records: Iterable[Placed], before: Sequence[Fault], first: Form) -> Conversations:
    found: list[PlacedConversation] = []
    faults, count = FaultsSoFar(before), RowCount()
    for record in records:
        form = conversations.form_of(record.value)
        if form is None:
            problem = f"no conversation; the first record is one, in {first.name!r}."
            faults.add(Fault(place=record.place, problem=problem, advice="Put records of one kind into one file."))
            continue
        try:
            read_one = form.read(record.value)
        except Wrong as wrong:
            faults.add(Fault(place=record.place, problem=wrong.fault.problem, advice=wrong.fault.advice))
        else:
            count.add(1)
            found.append(PlacedConversation(place=record.place, conversation=read_one))
    return Conversations(form=first.name, placed=tuple(found), faults=faults.found)


def _table(records: Iterable[Placed], before: Sequence[Fault]) -> Table:
    columns: dict[str, None] = {}
    rows: list[Row] = []
    faults, count = FaultsSoFar(before), RowCount()
    for record in records:
        if conversations.form_of(record.value) is not None:
            problem = "a conversation, and the first record is none."
            faults.add(Fault(place=record.place, problem=problem, advice="Put records of one kind into one file."))
            continue
        try:
            cells = _cells(record.value)
        except _NoRecord as error:
            faults.add(Fault(place=record.place, problem=str(error)))
            continue
        count.add(len(cells))
        columns |= dict.fromkeys(cells)
        row = Row(place=record.place, cells=cells)
        if not row.is_empty:
            rows.append(row)
    return Table(columns=tuple(columns), rows=tuple(rows), faults=faults.found)


class _NoRecord(Exception):
    pass


def _cells(record: object) -> dict[str, Cell]:
    if isinstance(record, Mapping) and len(record) > MAX_COLUMNS:
        raise _NoRecord(f"an object of {len(record):,} fields; at most {MAX_COLUMNS:,} are read.")
    if isinstance(record, Mapping):
        return {str(name): _cell(value) for name, value in record.items()}
    if isinstance(record, Sequence) and not isinstance(record, str) and len(record) == len(PAIR_COLUMNS):
        return {name: _cell(value) for name, value in zip(PAIR_COLUMNS, record, strict=True)}
    raise _NoRecord(f"{kind(record)}; an object, or a pair of an input and an output, is wanted.")


def _is_pair(value: object) -> bool:
    return is_list(value) and len(value) == len(PAIR_COLUMNS) and all(isinstance(each, str) for each in value)


def _of_columns(content: Mapping[Any, object]) -> Table:
    columns = {str(name): list(column) for name, column in content.items() if _is_column(column)}
    if not columns:
        name, value = next(iter(content.items()), ("", None))
        problem = f"column {str(name)!r}: {kind(value)}; a list of strings is wanted." if content else "it is empty."
        raise Unreadable(Fault(place=TOP, problem=problem))
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{listed([name])} has {length} entries" for name, length in list(lengths.items())[:10])
        raise Unreadable(Fault(place=TOP, problem=f"{told}; each input needs its output."))
    rows: list[Row] = []
    count = RowCount()
    for number, each in enumerate(zip(*columns.values(), strict=True), start=1):
        row = Row(place=f"row {number}", cells={name: _cell(value) for name, value in zip(columns, each, strict=True)})
        if not row.is_empty:
            count.add(len(each))
            rows.append(row)
    return Table(columns=tuple(columns), rows=tuple(rows))


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
    return NoText(kind=kind(value), advice="Write it as a string, in double quotes.")
