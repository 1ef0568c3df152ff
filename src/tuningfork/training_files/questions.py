"""What is asked where a file does not say which columns are meant, with the command lines that answer."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuningfork.training_files.column_names import Role, role_of
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.header import is_index, is_label, looks_like_data
from tuningfork.training_files.separators import SEPARATORS
from tuningfork.training_files.table import Table, Unreadable, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How the caller can answer: `command` is the command line that is to be repeated with further options.

    `header_given` is whether the caller has said if there is a header.
    """

    command: tuple[str, ...]
    header_given: bool = False

    def again(self, *options: str) -> str:
        """The command line with these options, as a shell takes it."""
        return f"  {shlex.join([*self.command, *options])}"


def which_columns(table: Table, question: Question) -> Unreadable:
    """The error that asks for the columns of a table."""
    place, names = table.header_place, listed(table.columns)
    if not table.columns:
        return Unreadable(Fault(place=place, problem="no row names the columns.", advice=_ADD_HEADER))
    if len(table.columns) == 1:
        advice = f"Two are needed, with {', '.join(SEPARATORS.values())} between their cells."
        return Unreadable(Fault(place=place, problem=f"only one column, {names}.", advice=advice))
    problem = f"which column is the input and which the output? The columns are {names}; {_why(table)}."
    return Unreadable(Fault(place=place, problem=problem, advice="\n".join(_answers(table, question))))


def which_other(table: Table, question: Question, inputs: Sequence[str], outputs: Sequence[str]) -> Unreadable:
    """The error that asks for the other column, where only the inputs or only the outputs are named."""
    missing = "output" if inputs else "input"
    named = [*(("--input-key", name) for name in inputs), *(("--output-key", name) for name in outputs)]
    rest = [name for name in table.columns if name not in {*inputs, *outputs} and not _is_index(name, table)]
    problem = f"which column is the {missing}? The columns are {listed(table.columns)}."
    answers = [
        question.again(*(word for option in [*named, (f"--{missing}-key", name)] for word in option))
        for name in rest[:_MOST_ANSWERS]
    ]
    return Unreadable(Fault(place=table.header_place, problem=problem, advice="\n".join(["Say it:", *answers])))


_MOST_ANSWERS = 3
_ADD_HEADER = 'Put a row such as "text_input,output" above the examples.'


def _why(table: Table) -> str:
    roles = [role_of(name) for name in table.columns]
    if table.is_numbered:
        return "they have no names"
    several = [word for role, word in ((Role.INPUT, "inputs"), (Role.OUTPUT, "outputs")) if roles.count(role) > 1]
    if several:
        return f"several may be {' and '.join(several)}"
    if Role.INPUT in roles and Role.OUTPUT in roles:
        return "the input may need a further one"
    return "their names do not tell"


def _answers(table: Table, question: Question) -> Iterator[str]:
    candidates = [name for name in table.columns if not _is_index(name, table)]
    indexes = [name for name in table.columns if name not in candidates]
    if indexes:
        yield f"{listed(indexes)} only seems to count the examples."
    if table.header_place and not question.header_given and looks_like_data(table):
        yield f"If {table.header_place} is an example already, and no header:"
        yield question.again("--no-header")
        yield "If it is a header:"
    for inputs, outputs in _pairs(candidates, table):
        yield f"To learn {listed(outputs)} from {listed(inputs)}:"
        options = [*(("--input-key", name) for name in inputs), *(("--output-key", name) for name in outputs)]
        yield question.again(*(word for option in options for word in option))
    if len(candidates) < 2:
        yield "Examples need an input and an output, each in a column of its own."


def _pairs(candidates: Sequence[str], table: Table) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The likeliest two answers: usual names where there are any, else the order of the columns, and its reverse."""
    inputs = [name for name in candidates if role_of(name) in {Role.INPUT, Role.CONTEXT}]
    outputs = [name for name in candidates if role_of(name) is Role.OUTPUT]
    if inputs and outputs:
        yield inputs, outputs[:1]
        if len(inputs) > 1 or len(outputs) > 1:
            yield inputs[-1:], outputs[-1:]
        return
    if len(candidates) < 2:
        return
    first, second = _likely(candidates, table)
    yield [first], [second]
    yield [second], [first]


def _likely(candidates: Sequence[str], table: Table) -> tuple[str, str]:
    output = next((name for name in candidates if role_of(name) is Role.OUTPUT or _is_label(name, table)), None)
    given = next((name for name in candidates if role_of(name) is Role.INPUT), None)
    given = given or next(name for name in candidates if name != output)
    return given, output or next(name for name in candidates if name != given)


def _is_index(name: str, table: Table) -> bool:
    return role_of(name) is Role.INDEX or is_index(_texts(name, table))


def _is_label(name: str, table: Table) -> bool:
    return is_label(_texts(name, table))


def _texts(name: str, table: Table) -> list[str]:
    return [cell for row in table.rows if isinstance(cell := row.cells.get(name), str)]
