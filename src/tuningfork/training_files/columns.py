"""Which columns of a table are given to the model and which it learns: by what the caller says, or by usual names.

Never by position in silence: where names do not tell, the caller is asked, with the command that answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.training_files.column_names import Role, plain, role_of
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.header import is_index, is_label
from tuningfork.training_files.questions import Question, which_columns, which_other
from tuningfork.training_files.table import Table, Unreadable, listed

INPUT, OUTPUT = "text_input", "output"
"""The columns that are taken before all others, as in the Gemini API's own clients."""

_NAME_THEM = "Name the columns with --input-key and --output-key."
_LETTERS = ("q", "a")
"""Names of one letter, which only mean question and answer where both are there."""
_ALPACA = ("instruction", "input")
"""Two inputs that belong together: a task, and what it is about, which may be empty (Stanford Alpaca)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns are the input and which the output, in this order. () leaves it to the file.

    `prefixes` None puts the columns' names before their texts where the caller names several inputs or outputs.
    `header` says whether the first row of a table names its columns; None leaves it to the file.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    prefixes: bool | None = None
    header: bool | None = None


AS_FOUND = Columns()
"""What the file itself says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The columns that are used, whether their names are part of the texts, and the one with a system text."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    prefixes: bool
    system: str | None = None


def choose(table: Table, wanted: Columns, question: Question) -> Chosen:
    """Settle on columns: those that are named, else those with usual names, else the only one that is left.

    Raises:
        Unreadable: a column is not there or there twice, or nothing says which ones are meant.

    """
    inputs, outputs = tuple(dict.fromkeys(wanted.inputs)), tuple(dict.fromkeys(wanted.outputs))
    by_name = not inputs and not outputs
    if by_name:
        inputs, outputs = _first_and_second(table, question) if table.is_numbered else _usual(table, question)
    else:
        inputs = inputs or _other(Role.INPUT, table.columns, outputs)
        outputs = outputs or _other(Role.OUTPUT, table.columns, inputs)
    _check(table, inputs, outputs, question)
    several = not by_name and not table.is_numbered and (len(inputs) > 1 or len(outputs) > 1)
    return Chosen(
        inputs=inputs,
        outputs=outputs,
        prefixes=several if wanted.prefixes is None else wanted.prefixes,
        system=_only(Role.SYSTEM, table) if by_name else None,
    )


def _usual(table: Table, question: Question) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns with usual names, if there is no doubt about them."""
    if INPUT in table.columns and OUTPUT in table.columns:
        return (INPUT,), (OUTPUT,)
    letters = [[name for name in table.columns if plain(name) == letter] for letter in _LETTERS]
    inputs, outputs = _of(Role.INPUT, table.columns) + letters[0], _of(Role.OUTPUT, table.columns) + letters[1]
    in_order = sorted(inputs, key=lambda name: plain(name) != _ALPACA[0])
    if len(outputs) == 1 and tuple(map(plain, in_order)) == _ALPACA:
        return tuple(in_order), tuple(outputs)
    if len(inputs) != 1 or len(outputs) != 1 or _of(Role.CONTEXT, table.columns):
        raise which_columns(table, question)
    return tuple(inputs), tuple(outputs)


def _first_and_second(table: Table, question: Question) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of two columns without names the first is given and the second learned, unless the first cannot be an input."""
    if len(table.columns) == 2:
        texts = [cell for row in table.rows if isinstance(cell := row.cells.get("1"), str)]
        if not is_index(texts) and not is_label(texts):
            return ("1",), ("2",)
    raise which_columns(table, question)


def _other(role: Role, names: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """The column for this role if the other one is named: the one of a usual name, or else the only one left."""
    rest = [name for name in names if name not in taken]
    usual = [name for name in rest if name == (INPUT if role is Role.INPUT else OUTPUT)] or _of(role, rest)
    found = usual if len(usual) == 1 else rest
    return tuple(found) if len(found) == 1 else ()


def _of(role: Role, names: Sequence[str]) -> list[str]:
    return [name for name in names if role_of(name) is role]


def _only(role: Role, table: Table) -> str | None:
    found = _of(role, table.columns)
    return found[0] if len(found) == 1 and found[0] not in table.ambiguous else None


def _check(table: Table, inputs: Sequence[str], outputs: Sequence[str], question: Question) -> None:
    place, names = table.header_place or "at its top", listed(table.columns)
    if not inputs or not outputs:
        raise which_other(table, question, inputs, outputs)
    faults = [
        Fault(place=place, problem=f"no column {name!r}; the columns are {names}.", advice=_NAME_THEM)
        for name in [*inputs, *outputs]
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
