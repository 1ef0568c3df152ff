"""What fixes make of a row: pure functions, so that they are tried on one row as on a hundred thousand."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tuningfork.domain.base_model import Limits
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.data_findings import Fix
from tuningfork.domain.staged_dataset import StagedRow
from tuningfork.domain.staged_examples import Layout
from tuningfork.domain.text_damage import repaired


def fixed(row: StagedRow, fix: Fix, layout: Layout, limits: Limits, labels: Mapping[str, str]) -> StagedRow:
    """The row after a fix that changes texts.

    Args:
        row: the row.
        fix: one of those that change texts.
        layout: what the dataset's columns are used for.
        limits: those of the base model, for cutting.
        labels: what is written in place of an output, for merging labels.

    """
    match fix:
        case Fix.TRIM_SPACES:
            return _mapped(row, layout, str.strip)
        case Fix.REPAIR_ENCODING:
            return _mapped(row, layout, repaired)
        case Fix.MERGE_LABELS:
            return _with_label(row, layout, labels)
        case Fix.CUT_TEXT:
            return _cut(row, layout, limits)
        case _:
            return row


def _mapped(row: StagedRow, layout: Layout, change: Callable[[str], str]) -> StagedRow:
    """The row with every text changed that becomes a part of its example."""
    if row.conversation is not None:
        return replace(row, conversation=_mapped_turns(row.conversation, change))
    system = () if layout.system is None else (layout.system,)
    used = {*system, *layout.inputs, *layout.outputs}
    return _with_cells(row, lambda index, cell: change(cell) if index in used else cell)


def _mapped_turns(conversation: Conversation, change: Callable[[str], str]) -> Conversation:
    """The conversation with changed texts. A turn of several parts keeps its parts, unless its whole text changes."""
    turns = tuple(
        turn if change(turn.text) == turn.text else replace(turn, parts=(change(turn.text),))
        for turn in conversation.turns
    )
    system = conversation.system_instruction
    return Conversation(turns=turns, system_instruction=None if system is None else change(system))


def _with_cells(row: StagedRow, change: Callable[[int, str], str]) -> StagedRow:
    cells = tuple(change(index, cell) if isinstance(cell, str) else cell for index, cell in enumerate(row.cells or ()))
    return replace(row, cells=cells)


def _with_label(row: StagedRow, layout: Layout, labels: Mapping[str, str]) -> StagedRow:
    if row.conversation is not None:
        turns = tuple(
            replace(turn, parts=(labels[turn.text],)) if turn.is_learned and turn.text in labels else turn
            for turn in row.conversation.turns
        )
        return replace(row, conversation=replace(row.conversation, turns=turns))
    (output,) = layout.outputs
    prefix = layout.columns[output].prefix

    def merged(index: int, cell: str) -> str:
        return labels.get(f"{prefix}{cell}", f"{prefix}{cell}").removeprefix(prefix) if index == output else cell

    return _with_cells(row, merged)


def _cut(row: StagedRow, layout: Layout, limits: Limits) -> StagedRow:
    """The row with its input and output cut, where each is one column."""
    most: dict[int, int] = {}
    for indexes, limit in (
        (layout.inputs, limits.max_input_characters),
        (layout.outputs, limits.max_output_characters),
    ):
        if len(indexes) == 1 and limit is not None:
            most[indexes[0]] = max(0, limit - len(layout.columns[indexes[0]].prefix))
    return _with_cells(row, lambda index, cell: cell[: most[index]] if index in most else cell)
