"""Staged datasets: training data that a person uploads, looks at and corrects before a tuning job is made of it.

A dataset belongs to whoever uploaded it and to nobody else. Its rows are those of a table, of which some columns are
the input and others the output, or whole conversations. Rows keep their ids for ever; edits are undone one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import FieldViolation, NotFound, Reason
from tuningfork.domain.permission import Email

StagedDatasetId = NewType("StagedDatasetId", str)

LIFETIME = timedelta(days=7)
"""How long after its last use a dataset is deleted."""

MAX_DRAFT_BYTES = 64 * 1024
MAX_PREFIX_CHARACTERS = 200
MAX_NAME_CHARACTERS = 200


class StagedDatasetNotFound(NotFound):
    """There is no such dataset, or it is somebody else's."""

    def __init__(self, dataset_id: str) -> None:
        self.dataset_id = dataset_id
        super().__init__(f"There is no dataset datasets/{dataset_id[:80]}, or it is not yours, or it has expired.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.dataset_id,)


class RowsKind(StrEnum):
    """What the rows of a dataset are."""

    PAIRS = "PAIRS"
    """Rows of a table, of which some columns are the input and others the output."""
    CONVERSATIONS = "CONVERSATIONS"


class ColumnRole(StrEnum):
    """What a column is used for."""

    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    SYSTEM = "SYSTEM"
    """The system instruction of the example."""
    IGNORE = "IGNORE"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedColumn:
    """A column of the file, and what it is used for. `prefix` is written before its text; "": nothing is."""

    name: str
    role: ColumnRole = ColumnRole.IGNORE
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFault:
    """A value of the file that is no text; `problem` says what it is instead, `advice` what to do ("": nothing)."""

    problem: str
    advice: str = ""


Cell = str | CellFault | None
"""None: nothing is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRow:
    """One row. `place` is where it is in the file, such as "line 7"; "": it was typed.

    Exactly one of `cells`, one for each column, and `conversation` is given.
    """

    id: int
    place: str = ""
    cells: tuple[Cell, ...] | None = None
    conversation: Conversation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadRow:
    """A part of the file that became no row, and why."""

    place: str
    problem: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """What was read of an uploaded file, besides its rows.

    `form` is the name of the format of conversations; "" for a table. `columns_settled` says whether the names of the
    columns tell what they are used for, `columns_reason` why. `unread` are the first faults of all `unread_count`.
    """

    format: str
    kind: RowsKind
    form: str = ""
    columns: tuple[StagedColumn, ...] = ()
    columns_settled: bool = True
    columns_reason: str = ""
    row_count: int
    unread: tuple[UnreadRow, ...] = ()
    unread_count: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of rows that can be undone; `said` says for people what it did.

    `number` is that of its file. No other edit of the dataset ever has it, also after this one was undone: whoever
    still reads the rows of before finds the file gone, and never another edit's.
    """

    number: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedDataset:
    """A dataset without its rows.

    `revision` grows with every change of rows. `edits` are those that can be undone, the oldest first. `generation` is
    the number of the file of rows below the edits, `next_row` the id that a new row gets. `draft` is JSON that the
    owner's program keeps with the dataset; "": none.
    """

    id: StagedDatasetId
    owner: Email
    display_name: str
    source_name: str
    read: ReadFile
    columns: tuple[StagedColumn, ...]
    columns_settled: bool
    row_count: int
    next_row: int
    size_bytes: int
    create_time: datetime
    update_time: datetime
    use_time: datetime
    revision: int = 0
    generation: int = 0
    edits: tuple[Edit, ...] = ()
    unread_accepted: bool = False
    draft: str = ""

    @property
    def expire_time(self) -> datetime:
        """When it is deleted unless it is used before."""
        return self.use_time + LIFETIME

    @property
    def columns_reason(self) -> str:
        """Why the columns have their roles; "": a person chose them."""
        return self.read.columns_reason if self.columns == self.read.columns else ""

    @property
    def edit_numbers(self) -> tuple[int, ...]:
        """The numbers of the edits' files, the oldest first."""
        return tuple(each.number for each in self.edits)

    @property
    def next_edit(self) -> int:
        """The number of the next edit's file."""
        return self.revision + 1

    def edited(self, said: str, *, row_count: int, next_row: int, size_bytes: int, now: datetime) -> "StagedDataset":
        """The dataset after one more edit."""
        return replace(
            self,
            revision=self.revision + 1,
            edits=(*self.edits, Edit(number=self.next_edit, said=said)),
            row_count=row_count,
            next_row=next_row,
            size_bytes=size_bytes,
            update_time=now,
            use_time=now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWindow:
    """Some rows of a dataset, each with its index among all."""

    dataset: StagedDataset
    rows: tuple[tuple[int, StagedRow], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChange:
    """What is to become of a dataset, besides its rows. None: it stays.

    `columns` has a role and a prefix for each column; `draft` is a JSON object, `{}` removes it.
    """

    display_name: str | None = None
    draft: Mapping[str, Any] | None = None
    columns: Sequence[Mapping[str, str]] | None = None


def violations_of_columns(
    columns: Sequence[StagedColumn], asked: Sequence[Mapping[str, str]]
) -> Iterator[FieldViolation]:
    """Everything that is wrong with roles and prefixes for these columns; roles are those of `ColumnRole`."""
    if len(asked) != len(columns):
        described = f"columns must have {len(columns)} entries, one for each column; {len(asked)} were given"
        yield FieldViolation(field="columns", description=described, reason=Reason.OUT_OF_RANGE)
        return
    for index, each in enumerate(asked):
        if each.get("role") not in set(ColumnRole):
            described = f"role must be one of {', '.join(ColumnRole)}; {each.get('role', '')[:40]!r} was given"
            yield FieldViolation(field=f"columns[{index}].role", description=described, reason=Reason.MALFORMED)
        if len(each.get("prefix", "")) > MAX_PREFIX_CHARACTERS:
            described = f"prefix must have at most {MAX_PREFIX_CHARACTERS} characters"
            yield FieldViolation(field=f"columns[{index}].prefix", description=described, reason=Reason.TOO_LONG)
        # It becomes a part of every example, which may not have it.
        if "\0" in each.get("prefix", ""):
            described = "prefix must not contain the character U+0000"
            yield FieldViolation(field=f"columns[{index}].prefix", description=described, reason=Reason.MALFORMED)
    if sum(each.get("role") == ColumnRole.SYSTEM for each in asked) > 1:
        described = "at most one column can be the system instruction"
        yield FieldViolation(field="columns", description=described, reason=Reason.NOT_ALLOWED)
