"""Rows become examples: the chosen columns' texts, with or without the columns' names as prefixes.

Prefixes are those of Google AI Studio (gemini-api section 13.3): a column's header, a colon and a blank before its
text, one column a line, as in `input: 1` and `output: 2`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.columns import Chosen
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.table import NoText, Row, listed

_NAME_THEM = "Name the columns with --input-key and --output-key."

# JSON can escape half a surrogate pair, which no UTF-8 text can hold.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def make(row: Row, chosen: Chosen) -> Conversation | list[Fault]:
    """The example of a row, or everything that is wrong with it."""
    faults = [*_faults(row, chosen.inputs), *_faults(row, chosen.outputs)]
    system = row.cells.get(chosen.system) if chosen.system else None
    if chosen.system and (isinstance(system, NoText) or (system and system.strip())):
        faults += _faults(row, [chosen.system])
    if faults:
        return faults
    pair = Conversation.pair(
        _joined(row, chosen.inputs, chosen.prefixes), _joined(row, chosen.outputs, chosen.prefixes)
    )
    return replace(pair, system_instruction=system) if isinstance(system, str) and system.strip() else pair


def faults_of_text(text: str) -> Iterator[Fault]:
    """What makes a text one that cannot be sent; each fault without a place."""
    if half := _HALF_CHARACTER.search(text):
        yield Fault(
            problem=f"{half[0]!r} is half a character.", advice="Write both halves of the surrogate pair, or itself."
        )
    elif "\0" in text:
        yield Fault(
            problem="it holds the character U+0000, which no text has.",
            advice="The file may be damaged: export it again.",
        )


def _faults(row: Row, names: Sequence[str]) -> Iterator[Fault]:
    """What is wrong with the cells of one side; of several columns, one that is filled is enough."""
    cells = {name: row.cells.get(name) for name in names}
    for name, cell in cells.items():
        if isinstance(cell, NoText):
            yield _at(row, name, Fault(problem=f"{cell.kind}; a text is wanted.", advice=cell.advice))
        elif cell:
            yield from (_at(row, name, fault) for fault in faults_of_text(cell))
    if any(isinstance(cell, NoText) or (cell and cell.strip()) for cell in cells.values()):
        return
    if len(names) > 1:
        yield Fault(place=f"{row.place}, columns {listed(names)}", problem="all are empty.", advice="Fill one of them.")
    elif names[0] in row.cells:
        yield _at(row, names[0], Fault(problem="empty.", advice="Fill it, or remove the example."))
    else:
        problem = f"no column {names[0]!r}; it has {listed(row.cells)}."
        yield Fault(place=row.place, problem=problem, advice=_NAME_THEM)


def _at(row: Row, name: str, fault: Fault) -> Fault:
    return replace(fault, place=f"{row.place}, column {name!r}")


def _joined(row: Row, names: Sequence[str], prefixes: bool) -> str:
    texts = [(name, str(row.cells.get(name) or "")) for name in names]
    if prefixes:
        # An empty column keeps its line, so that every prompt has the same shape.
        return "\n".join(f"{_prefix(name)}: {text}" for name, text in texts)
    return "\n".join(text for _, text in texts if text) if len(texts) > 1 else texts[0][1]


def _prefix(name: str) -> str:
    """A column's name without the colon that Google AI Studio writes behind it."""
    return name.rstrip(":\uff1a").rstrip() or name
