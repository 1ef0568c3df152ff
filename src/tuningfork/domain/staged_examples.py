"""From the rows of a staged dataset to training examples: the columns' texts, with or without prefixes.

The texts are those that `tuningfork tune` makes of the same file (`training_files/examples.py`): a prefix before each
text, one column a line, such as `input: ` and `output: `.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tuningfork.domain.conversation import Conversation, Speaker
from tuningfork.domain.staged_dataset import Cell, CellFault, ColumnRole, StagedColumn, StagedRow

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class RowProblem(StrEnum):
    """Why a row is no example."""

    NOT_TEXT = "not_text"
    BAD_CHARACTERS = "bad_characters"
    EMPTY_INPUT = "empty_input"
    EMPTY_OUTPUT = "empty_output"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns, by index, an example is made of."""

    columns: tuple[StagedColumn, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    system: int | None

    @classmethod
    def of(cls, columns: Sequence[StagedColumn]) -> "Layout":
        """The layout of these columns."""

        def among(role: ColumnRole) -> tuple[int, ...]:
            return tuple(index for index, column in enumerate(columns) if column.role is role)

        system = among(ColumnRole.SYSTEM)
        return cls(tuple(columns), among(ColumnRole.INPUT), among(ColumnRole.OUTPUT), system[0] if system else None)

    @property
    def is_complete(self) -> bool:
        """Whether there is an input and an output."""
        return bool(self.inputs and self.outputs)


def example_of(row: StagedRow, layout: Layout) -> Conversation | tuple[RowProblem, ...]:
    """The example of a row, or every reason for which it is none."""
    if row.conversation is not None:
        problems = _problems_of_conversation(row.conversation)
        return problems or row.conversation
    cells = row.cells or ()
    problems = _problems_of_cells(cells, layout)
    if problems:
        return problems
    pair = Conversation.pair(_joined(cells, layout, layout.inputs), _joined(cells, layout, layout.outputs))
    system = _text(cells, layout.system) if layout.system is not None else ""
    return replace(pair, system_instruction=system) if system.strip() else pair


def sides_of(example: Conversation) -> tuple[str, str]:
    """All that the model reads before its last learned turn, and that turn, for comparing examples."""
    last = max((index for index, turn in enumerate(example.turns) if turn.is_learned), default=len(example.turns) - 1)
    before = [example.system_instruction or "", *(turn.text for turn in example.turns[:last])]
    return "\x1f".join(before), example.turns[last].text if example.turns else ""


def _problems_of_cells(cells: Sequence[Cell], layout: Layout) -> tuple[RowProblem, ...]:
    found: list[RowProblem] = []
    system = () if layout.system is None else (layout.system,)
    used = [cells[index] for index in (*layout.inputs, *layout.outputs, *system) if index < len(cells)]
    if any(isinstance(cell, CellFault) for cell in used):
        found.append(RowProblem.NOT_TEXT)
    if any(isinstance(cell, str) and _is_bad(cell) for cell in used):
        found.append(RowProblem.BAD_CHARACTERS)
    for columns, problem in ((layout.inputs, RowProblem.EMPTY_INPUT), (layout.outputs, RowProblem.EMPTY_OUTPUT)):
        side = [cells[index] for index in columns if index < len(cells)]
        if not any(isinstance(cell, CellFault) or (cell and cell.strip()) for cell in side):
            found.append(problem)
    return tuple(found)


def _problems_of_conversation(conversation: Conversation) -> tuple[RowProblem, ...]:
    found: list[RowProblem] = []
    texts = [conversation.system_instruction or "", *(turn.text for turn in conversation.turns)]
    if any(map(_is_bad, texts)):
        found.append(RowProblem.BAD_CHARACTERS)
    learned = [turn.text for turn in conversation.turns if turn.is_learned]
    begins = bool(conversation.turns) and conversation.turns[0].speaker is Speaker.USER
    if not begins or not conversation.turns[0].text.strip():
        found.append(RowProblem.EMPTY_INPUT)
    if not learned or not all(text.strip() for text in learned):
        found.append(RowProblem.EMPTY_OUTPUT)
    return tuple(found)


def _is_bad(text: str) -> bool:
    """Whether no UTF-8 text, or no database, can hold it."""
    return "\0" in text or _HALF_CHARACTER.search(text) is not None


def _text(cells: Sequence[Cell], index: int) -> str:
    cell = cells[index] if index < len(cells) else None
    return cell if isinstance(cell, str) else ""


def _joined(cells: Sequence[Cell], layout: Layout, indexes: Sequence[int]) -> str:
    texts = [(layout.columns[index].prefix, _text(cells, index)) for index in indexes]
    if any(prefix for prefix, _ in texts):
        # An empty column keeps its line, so that every prompt has the same shape.
        return "\n".join(f"{prefix}{text}" for prefix, text in texts)
    return "\n".join(text for _, text in texts if text) if len(texts) > 1 else texts[0][1]
