"""Rows of staged datasets as lines of a file, and back."""

import json
from collections.abc import Mapping
from typing import Any

from tuningfork.domain import dataset_lines
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.staged_dataset import Cell, CellFault, StagedRow


def line_of(row: StagedRow) -> bytes:
    """A row as a line; its id is not in it."""
    fields: dict[str, Any] = {"p": row.place} if row.place else {}
    if row.conversation is not None:
        fields["e"] = dataset_lines.line_of(row.conversation).decode("ascii")
    else:
        fields["c"] = [
            {"k": cell.problem, "a": cell.advice} if isinstance(cell, CellFault) else cell for cell in row.cells or ()
        ]
    # With escapes, since a cell may hold half a surrogate pair, which UTF-8 has no bytes for.
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def row_of(row_id: int, line: bytes) -> StagedRow:
    """The row of a line.

    Raises:
        ValueError: the line is damaged.

    """
    fields: Mapping[str, Any] = json.loads(line.partition(b"\t")[2] if line[:1].isdigit() else line)
    if "e" in fields:
        example = dataset_lines.example_in(fields["e"])
        if not isinstance(example, Conversation):
            raise ValueError("a row of a staged dataset is no preference")
        return StagedRow(id=row_id, place=fields.get("p", ""), conversation=example)
    cells: list[Cell] = [
        CellFault(problem=cell["k"], advice=cell["a"]) if isinstance(cell, dict) else cell for cell in fields["c"]
    ]
    return StagedRow(id=row_id, place=fields.get("p", ""), cells=tuple(cells))
