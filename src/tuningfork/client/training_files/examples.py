"""Rows become examples: which columns are given and which are learned, with or without their names as prefixes.

Prefixes are those of Google AI Studio (gemini-api section 13.3): a column's header, a colon and a blank before its
text, one column a line, as in `input: 1` and `output: 2`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuningfork.client.errors import Fault
from tuningfork.client.training_files.table import NoText, Row, Table, Unreadable, listed
from tuningfork.domain.dataset import Example

INPUT, OUTPUT = "text_input", "output"
"""The columns that are taken where none is named, as in the Gemini API's own clients."""

_NAME_THEM = "Name the columns with --input-key and --output-key."

# JSON can escape half a surrogate pair, which no UTF-8 text can hold.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns are the input and which the output, in this order. () leaves it to the file.

    `prefixes` None puts the columns' names before their texts where there are several inputs or several outputs.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    prefixes: bool | None = None


AS_FOUND = Columns()
"""What the file itself says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The columns that are used, and whether their names are part of the texts."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    prefixes: bool


def choose(table: Table, wanted: Columns) -> Chosen:
    """Settle on columns: those that are named, else `text_input` and `output`, else the only ones there are.

    Raises:
        Unreadable: a column is not there or there twice, or nothing says which ones are meant.

    """
    names = table.columns
    inputs = tuple(dict.fromkeys(wanted.inputs)) or _usual(INPUT, names, wanted.outputs)
    outputs = tuple(dict.fromkeys(wanted.outputs)) or _usual(OUTPUT, names, inputs)
    if not inputs and not outputs and len(names) == 2:
        _check_header(table)
        inputs, outputs = names[:1], names[1:]
    inputs = inputs or _only(names, outputs)
    outputs = outputs or _only(names, inputs)
    _check(table, inputs, outputs)
    several = len(inputs) > 1 or len(outputs) > 1
    return Chosen(inputs=inputs, outputs=outputs, prefixes=several if wanted.prefixes is None else wanted.prefixes)


def make(row: Row, chosen: Chosen) -> Example | list[Fault]:
    """The example of a row, or everything that is wrong with it."""
    faults = [*_faults(row, chosen.inputs), *_faults(row, chosen.outputs)]
    if faults:
        return faults
    return Example(_joined(row, chosen.inputs, chosen.prefixes), _joined(row, chosen.outputs, chosen.prefixes))


def _usual(name: str, names: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    return (name,) if name in names and name not in taken else ()


def _only(names: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    rest = tuple(name for name in names if name not in taken)
    return rest if len(rest) == 1 and taken else ()


def _check_header(table: Table) -> None:
    """Two columns are taken as they come; but a file without a header would lose its first example that way."""
    if table.header_place and (numbers := [name for name in table.columns if _NUMBER.fullmatch(name)]):
        problem = f"the first row should name the columns, but {listed(numbers)} looks like data."
        advice = (
            'Put a row such as "text_input,output" above it, or name the columns with --input-key and --output-key.'
        )
        raise Unreadable(Fault(place=table.header_place, problem=problem, advice=advice))


def _check(table: Table, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    place, names = table.header_place or "at its top", listed(table.columns)
    if len(table.columns) == 1 and (mark := next((mark for mark in ";\t|" if mark in table.columns[0]), None)):
        problem = f"one single column {names}."
        raise Unreadable(
            Fault(place=place, problem=problem, advice=f"Its cells are separated by {mark!r}: save it with commas.")
        )
    faults = [
        Fault(place=place, problem=f"no column {name!r}; the columns are {names}.", advice=_NAME_THEM)
        for name in [*(inputs or [INPUT]), *(outputs or [OUTPUT])]
        if name not in table.columns
    ]
    faults += [
        Fault(place=place, problem=f"two columns are named {name!r}.", advice="Rename one of them.")
        for name in dict.fromkeys([*inputs, *outputs])
        if name in table.ambiguous
    ]
    faults += [
        Fault(place=place, problem=f"column {name!r} cannot be input and output at once.", advice=_NAME_THEM)
        for name in inputs
        if name in outputs
    ]
    if faults:
        raise Unreadable(*faults)


def _faults(row: Row, names: Sequence[str]) -> Iterator[Fault]:
    """What is wrong with the cells of one side; of several columns, one that is filled is enough."""
    cells = {name: row.cells.get(name) for name in names}
    for name, cell in cells.items():
        if isinstance(cell, NoText):
            yield _at(row, name, f"{cell.kind}; a text is wanted.", cell.advice)
        elif cell and (half := _HALF_CHARACTER.search(cell)):
            yield _at(
                row, name, f"{half[0]!r} is half a character.", "Write both halves of the surrogate pair, or itself."
            )
        elif cell and "\0" in cell:
            yield _at(
                row,
                name,
                "it holds the character U+0000, which no text has.",
                "The file may be damaged: export it again.",
            )
    if any(isinstance(cell, NoText) or (cell and cell.strip()) for cell in cells.values()):
        return
    if len(names) > 1:
        yield Fault(place=f"{row.place}, columns {listed(names)}", problem="all are empty.", advice="Fill one of them.")
    elif names[0] in row.cells:
        yield _at(row, names[0], "empty.", "Fill it, or remove the example.")
    else:
        problem = f"no column {names[0]!r}; it has {listed(row.cells)}."
        yield Fault(place=row.place, problem=problem, advice=_NAME_THEM)


def _at(row: Row, name: str, problem: str, advice: str) -> Fault:
    return Fault(place=f"{row.place}, column {name!r}", problem=problem, advice=advice)


def _joined(row: Row, names: Sequence[str], prefixes: bool) -> str:
    texts = [(name, str(row.cells.get(name) or "")) for name in names]
    if prefixes:
        # An empty column keeps its line, so that every prompt has the same shape.
        return "\n".join(f"{name}: {text}" for name, text in texts)
    return "\n".join(text for _, text in texts if text) if len(texts) > 1 else texts[0][1]
