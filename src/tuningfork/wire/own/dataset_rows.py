"""Rows of staged datasets: parses which are wanted and how they change, and renders them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason
from tuningfork.domain.staged_dataset import CellFault, RowWindow, StagedDataset, StagedRow
from tuningfork.wire.google.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.own.datasets import DATASET, fields_of

_PACKAGE = "tuningfork.v1"
_USUAL_COUNT = 100
USUAL_CELL_CHARACTERS = 2_000

CELL_PROBLEM = Message(
    f"{_PACKAGE}.Row.Problem",
    (
        Field(1, "column", Kind.INT32, presence=True),
        Field(2, "problem", Kind.STRING),
        Field(3, "advice", Kind.STRING),
    ),
)
TURN = Message(
    f"{_PACKAGE}.Row.Turn",
    (
        Field(1, "role", Kind.STRING),
        Field(2, "text", Kind.STRING, presence=True),
        Field(3, "learned", Kind.BOOL, presence=True),
    ),
)
CONVERSATION = Message(
    f"{_PACKAGE}.Row.Conversation",
    (Field(1, "system_instruction", Kind.STRING, presence=True), Field(2, "turns", TURN, repeated=True)),
)
ROW = Message(
    f"{_PACKAGE}.Row",
    (
        Field(1, "id", Kind.INT32, presence=True, rule=Rule.OUTPUT_ONLY),
        Field(2, "number", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(3, "place", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(4, "cells", Kind.JSON, presence=True),
        Field(5, "cut", Kind.INT32, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(6, "problems", CELL_PROBLEM, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(7, "conversation", CONVERSATION),
    ),
)
ROWS = Message(
    f"{_PACKAGE}.ListRowsResponse",
    (
        Field(1, "rows", ROW, repeated=True),
        Field(2, "row_count", Kind.INT32, presence=True),
        Field(3, "revision", Kind.INT32, presence=True),
    ),
)
ROWS_QUERY = Message(
    f"{_PACKAGE}.ListRowsRequest",
    (
        Field(1, "start", Kind.INT32),
        Field(2, "count", Kind.INT32, presence=True),
        Field(3, "ids", Kind.INT32, repeated=True),
        Field(4, "cell_characters", Kind.INT32, presence=True),
    ),
)
CHANGED_ROW = Message(f"{_PACKAGE}.UpdateRowResponse", (Field(1, "row", ROW), Field(2, "dataset", DATASET)))
ADD_ROWS = Message(f"{_PACKAGE}.AddRowsRequest", (Field(1, "rows", ROW, repeated=True),))
ADDED_ROWS = Message(
    f"{_PACKAGE}.AddRowsResponse", (Field(1, "dataset", DATASET), Field(2, "ids", Kind.INT32, repeated=True))
)
REMOVE_ROWS = Message(f"{_PACKAGE}.RemoveRowsRequest", (Field(1, "ids", Kind.INT32, repeated=True),))
CHANGED = Message(f"{_PACKAGE}.ChangeDatasetResponse", (Field(1, "dataset", DATASET),))
UNDO = Message(f"{_PACKAGE}.UndoRequest", ())

CHANGE_ROW = RequestWords("UpdateRowRequest")
ADD = RequestWords("AddRowsRequest")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRows:
    """Which rows a caller wants: those with `ids`, or, where there are none, `count` from the index `start` on.

    Cells are cut to `cell_characters`.
    """

    start: int
    count: int
    ids: tuple[int, ...]
    cell_characters: int


def parse_rows(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> WantedRows:
    """The rows that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown, malformed or negative.

    """
    asked = decode_query(ROWS_QUERY, query, repeated)
    wanted = WantedRows(
        start=asked.get("start", 0),
        count=asked.get("count", _USUAL_COUNT),
        ids=tuple(asked.get("ids", ())),
        cell_characters=asked.get("cell_characters", USUAL_CELL_CHARACTERS),
    )
    for name in ("start", "count", "cell_characters"):
        if (given := getattr(wanted, name)) < 0:
            described = f"{name} must not be negative; {given} was given"
            raise refused(
                "ListRowsRequest", (FieldViolation(field=name, description=described, reason=Reason.OUT_OF_RANGE),)
            )
    return wanted


def parse_row_id(text: str) -> int:
    """The id of a row in a path. An id that is no number is that of no row: -1."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else -1


def parse_change(body: bytes) -> Callable[[StagedRow], StagedRow]:
    """What a row becomes.

    Raises:
        InvalidArgument: the body is no Row, or its cells or its conversation are malformed.

    """
    new = _row(decode(ROW, read(body), "row"), "row")
    return lambda row: replace(row, cells=new.cells, conversation=new.conversation)


def parse_added(body: bytes) -> tuple[StagedRow, ...]:
    """The rows to add, with made-up ids.

    Raises:
        InvalidArgument: the body is malformed, or one of its rows.

    """
    fields = decode(ADD_ROWS, read(body))
    return tuple(_row(each, f"rows[{index}]") for index, each in enumerate(fields.get("rows", ())))


def parse_removed(body: bytes) -> tuple[int, ...]:
    """The ids of the rows to remove.

    Raises:
        InvalidArgument: the body is malformed.

    """
    return tuple(decode(REMOVE_ROWS, read(body)).get("ids", ()))


def render_rows(window: RowWindow, cell_characters: int) -> Typed:
    """Some rows, with long cells cut."""
    rows = [_fields(index, row, cell_characters) for index, row in window.rows]
    fields = {"rows": rows, "row_count": window.dataset.row_count, "revision": window.dataset.revision}
    return Typed(ROWS, fields)


def render_row(index: int, row: StagedRow) -> Typed:
    """One row, whole."""
    return Typed(ROW, _fields(index, row, None))


def render_changed_row(dataset: StagedDataset, index: int, row: StagedRow) -> Typed:
    """A row after it was changed, whole, and its dataset."""
    return Typed(CHANGED_ROW, {"row": _fields(index, row, None), "dataset": fields_of(dataset)})


def render_added(dataset: StagedDataset, ids: Sequence[int]) -> Typed:
    """A dataset after rows were added, and their ids."""
    return Typed(ADDED_ROWS, {"dataset": fields_of(dataset), "ids": list(ids)})


def render_changed(dataset: StagedDataset) -> Typed:
    """A dataset after its rows were changed."""
    return Typed(CHANGED, {"dataset": fields_of(dataset)})


def _row(fields: Fields, path: str) -> StagedRow:
    if "conversation" in fields:
        if "cells" in fields:
            raise _malformed(path, "a row has either cells or a conversation")
        return StagedRow(id=0, conversation=_conversation(fields["conversation"], f"{path}.conversation"))
    cells = fields.get("cells")
    if not isinstance(cells, list) or not all(cell is None or isinstance(cell, str) for cell in cells):
        raise _malformed(f"{path}.cells", "cells must be a list with a string or null for each column")
    return StagedRow(id=0, cells=tuple(cells))


def _conversation(fields: Fields, path: str) -> Conversation:
    turns = []
    for index, each in enumerate(fields.get("turns", ())):
        role = each.get("role", "")
        if role not in set(Speaker):
            raise _malformed(f"{path}.turns[{index}].role", f"role must be user or model; {role[:40]!r} was given")
        speaker = Speaker(role)
        learned = each.get("learned", speaker is Speaker.MODEL)
        turns.append(Turn.said(speaker, each.get("text", ""), 1 if learned or speaker is Speaker.USER else 0))
    return Conversation(turns=tuple(turns), system_instruction=fields.get("system_instruction"))


def _malformed(field: str, described: str) -> InvalidArgument:
    return refused("Row", (FieldViolation(field=field, description=described, reason=Reason.MALFORMED),))


def _fields(index: int, row: StagedRow, cell_characters: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": row.id, "number": index + 1, "place": row.place}
    if row.conversation is not None:
        return fields | {"conversation": _conversation_fields(row.conversation)}
    cells = row.cells or ()
    texts = [_sendable(cell) if isinstance(cell, str) else None for cell in cells]
    fields["cells"] = [text if text is None else text[:cell_characters] for text in texts]
    if cell_characters is not None:
        fields["cut"] = [
            column for column, text in enumerate(texts) if text is not None and len(text) > cell_characters
        ]
    fields["problems"] = [
        {"column": column, "problem": cell.problem, "advice": cell.advice}
        for column, cell in enumerate(cells)
        if isinstance(cell, CellFault)
    ]
    return fields


def _conversation_fields(conversation: Conversation) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "turns": [
            {"role": turn.speaker.value, "text": _sendable(turn.text), "learned": turn.is_learned}
            for turn in conversation.turns
        ]
    }
    if conversation.system_instruction is not None:
        fields["system_instruction"] = _sendable(conversation.system_instruction)
    return fields


def _sendable(text: str) -> str:
    """The text with each half of a surrogate pair, which no answer can hold, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
