"""From an uploaded file to the rows of a staged dataset."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.staged_dataset import (
    Cell,
    CellFault,
    ColumnRole,
    ReadFile,
    RowsKind,
    StagedColumn,
    StagedRow,
    UnreadRow,
)
from tuningfork.domain.staged_row_lines import line_of
from tuningfork.training_files import recognition
from tuningfork.training_files.bounds import MAX_BYTES
from tuningfork.training_files.columns import AS_FOUND, Chosen, choose
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.questions import Question
from tuningfork.training_files.table import Conversations, NoText, Row, Table, Unreadable, listed
from tuningfork.training_files.unpacking import BEGINNING, gunzipped

_SHOWN_FAULTS = 20
_MOST_CHARACTERS_OF_A_FAULT = 500


def read_rows(file: Path, name: str, to: Path, *, header: bool | None) -> ReadFile:
    """See `FileReaders.read`."""
    try:
        content, suffix = _content(file, name)
        parsed = recognition.parse(content, suffix, header)
    except Unreadable as unreadable:
        raise _refusal(unreadable.faults) from unreadable
    del content
    if isinstance(parsed, Conversations):
        _write(to, _conversations(parsed))
        read = ReadFile(format="", kind=RowsKind.CONVERSATIONS, form=parsed.form, row_count=len(parsed.placed))
    else:
        if not parsed.columns:
            raise _refusal([*parsed.faults, Fault(problem="it has no columns.", advice="Name them in the first row.")])
        _write(to, _rows(parsed))
        read = _of_table(parsed, header)
    kind = suffix.removeprefix(".").upper() or "TEXT"
    return replace(
        read,
        format=kind,
        unread=tuple(map(_unread, parsed.faults)),
        unread_count=len(parsed.faults),
        notes=(*parsed.notes, *read.notes),
    )


def _write(to: Path, rows: Iterable[StagedRow]) -> None:
    with to.open("xb") as file:
        for row in rows:
            file.write(line_of(row))


def _content(file: Path, name: str) -> tuple[bytes, str]:
    """The file's bytes, unpacked, and the suffix that says its kind; "" where the content has to."""
    content = file.read_bytes()
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    if content.startswith(BEGINNING):
        content = gunzipped(content, MAX_BYTES)
    if len(content) > MAX_BYTES:
        problem = f"unpacked, it has more than {MAX_BYTES:,} bytes, which are not read."
        raise Unreadable(Fault(problem=problem, advice="Split it, or keep the best examples."))
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    return content, suffix if suffix in recognition.PARSERS else ""


def _refusal(faults: Sequence[Fault]) -> InvalidArgument:
    """One error that names the first faults, each with its place and what to do."""
    lines = [
        f"{f'{fault.place[:1].upper()}{fault.place[1:]}: ' if fault.place else ''}{fault.problem}"
        for fault in faults[:_SHOWN_FAULTS]
    ]
    if len(faults) > _SHOWN_FAULTS:
        lines.append(f"And {len(faults) - _SHOWN_FAULTS} faults more.")
    cures = dict.fromkeys(fault.advice for fault in faults[:_SHOWN_FAULTS] if fault.advice)
    return InvalidArgument("\n".join(["The file cannot be read.", *lines, *list(cures)[:3]]))


def _conversations(parsed: Conversations) -> Iterator[StagedRow]:
    for number, placed in enumerate(parsed.placed):
        yield StagedRow(id=number, place=placed.place, conversation=placed.conversation)


def _rows(table: Table) -> Iterator[StagedRow]:
    for number, row in enumerate(table.rows):
        yield StagedRow(id=number, place=row.place, cells=_cells(row, table.columns))


def _cells(row: Row, columns: Sequence[str]) -> tuple[Cell, ...]:
    cells = (row.cells.get(name) for name in columns)
    return tuple(_fault(cell) if isinstance(cell, NoText) else cell for cell in cells)


def _fault(cell: NoText) -> CellFault:
    return CellFault(problem=f"{cell.kind}; a text is wanted", advice=cell.advice)


def _of_table(table: Table, header: bool | None) -> ReadFile:
    chosen, reason = _suggested(table, header)
    roles = {} if chosen is None else _roles(chosen)
    ambiguous = sorted(table.ambiguous)
    notes = (f"Several columns are named {listed(ambiguous)}; only the last of them is read.",) if ambiguous else ()
    return ReadFile(
        format="",
        kind=RowsKind.PAIRS,
        columns=tuple(
            StagedColumn(name=_sendable(name), role=roles.get(name, ColumnRole.IGNORE)) for name in table.columns
        ),
        columns_settled=chosen is not None,
        columns_reason=_sendable(reason),
        row_count=len(table.rows),
        notes=tuple(map(_sendable, notes)),
    )


def _suggested(table: Table, header: bool | None) -> tuple[Chosen | None, str]:
    """The columns that their names and texts suggest, and why; None where they do not tell."""
    try:
        chosen = choose(table, AS_FOUND, Question(command=("tuningfork", "tune"), header_given=header is not None))
    except Unreadable as asked:
        return None, asked.faults[0].problem
    inputs, outputs = listed(chosen.inputs), listed(chosen.outputs)
    why = "the columns have no names, and their order tells" if table.is_numbered else "their names say so"
    return chosen, f"{inputs} looks like the input and {outputs} like the output: {why}."


def _roles(chosen: Chosen) -> dict[str, ColumnRole]:
    roles = dict.fromkeys(chosen.inputs, ColumnRole.INPUT) | dict.fromkeys(chosen.outputs, ColumnRole.OUTPUT)
    return roles if chosen.system is None else {**roles, chosen.system: ColumnRole.SYSTEM}


def _unread(fault: Fault) -> UnreadRow:
    most = _MOST_CHARACTERS_OF_A_FAULT
    texts = {name: _sendable(getattr(fault, name)[:most]) for name in ("place", "problem", "advice")}
    return UnreadRow(**texts)


def _sendable(text: str) -> str:
    """The text with each half of a surrogate pair, which JSON can escape and no answer can hold, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
