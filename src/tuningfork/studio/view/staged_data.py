"""A data set that waits for its tuning, as the API shows it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

ROLES = ("INPUT", "OUTPUT", "SYSTEM", "IGNORE")
"""What a column can be for."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data. `name` and `prefix` are whatever the file or the person says.

    `label` tells columns of one name apart: the second `answer` is `answer (2)`.
    """

    name: str
    role: str
    prefix: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A place of the file that is no row, and why."""

    place: str
    problem: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedData:
    """A data set. Without `columns` its rows are conversations. Times are as the API writes them; "": not told."""

    name: str
    display_name: str
    format: str
    source_name: str
    conversation_form: str
    row_count: int
    columns: tuple[Column, ...]
    columns_reason: str
    notes: tuple[str, ...]
    unread: tuple[UnreadRow, ...]
    unread_count: int
    size_bytes: int
    undoable_edits: int
    last_edit: str
    updated: str
    expires: str
    draft: Json

    @property
    def id(self) -> str:
        """The id in its name."""
        return self.name.removeprefix("datasets/")

    @property
    def title(self) -> str:
        """What people call it."""
        return self.display_name or self.id

    @property
    def has_columns(self) -> bool:
        """Whether a column is read by the model, and one is learned; true of conversations, which have none."""
        return not self.columns or {"INPUT", "OUTPUT"} <= {column.role for column in self.columns}


@dataclass(frozen=True, slots=True)
class Line:
    """One cell of a row, or one turn of a conversation. `speaker` "": it is a cell."""

    speaker: str
    text: str


def staged_data(found: Json) -> StagedData:
    """A data set as the API writes it."""
    return StagedData(
        name=str(found["name"]),
        display_name=str(found.get("displayName", "")),
        format=str(found.get("format", "")),
        source_name=str(found.get("sourceName", "")),
        conversation_form=str(found.get("conversationForm", "")),
        row_count=int(found.get("rowCount", 0)),
        columns=_columns(found.get("columns", ())),
        columns_reason=str(found.get("columnsReason", "")),
        notes=tuple(map(str, found.get("notes", ()))),
        unread=tuple(
            UnreadRow(str(each.get("place", "")), str(each.get("problem", "")), str(each.get("advice", "")))
            for each in found.get("unreadRows", ())
        ),
        unread_count=int(found.get("unreadRowCount", 0)),
        size_bytes=int(found.get("sizeBytes", 0)),
        undoable_edits=int(found.get("undoableEdits", 0)),
        last_edit=str(found.get("lastEdit", "")),
        updated=str(found.get("updateTime", "")),
        expires=str(found.get("expireTime", "")),
        draft=found.get("draft") or {},
    )


def _columns(found: Iterable[Json]) -> tuple[Column, ...]:
    """The columns with their labels. None has the label of an earlier one, whatever the file calls them."""
    columns: list[Column] = []
    taken: set[str] = set()
    for each in found:
        name = label = str(each.get("name", ""))
        count = 1
        while label and label in taken:
            count += 1
            label = f"{name} ({count})"
        taken.add(label)
        columns.append(Column(name, str(each.get("role", "IGNORE")), str(each.get("prefix", "")), label))
    return tuple(columns)


def lines_of(row: Json) -> tuple[Line, ...]:
    """What a row shows: its cells in the order of the columns, or what is said in its conversation."""
    if "cells" in row:
        return tuple(Line("", "" if cell is None else str(cell)) for cell in row["cells"])
    said = row.get("conversation", {})
    system = said.get("systemInstruction")
    turns = (Line(str(turn.get("role", "")), str(turn.get("text", ""))) for turn in said.get("turns", ()))
    return (*((Line("system", str(system)),) if system else ()), *turns)
