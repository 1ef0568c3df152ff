"""From files, addresses or plain Python values to a dataset: all of it, or an error that names each fault."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import httpx

from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files.bounds import Bound
from tuningfork.client.training_files.download import is_url
from tuningfork.client.training_files.opening import open_source
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.training_files import json_table
from tuningfork.training_files.bounds import MAX_FAULTS
from tuningfork.training_files.columns import AS_FOUND, Chosen, Columns, choose
from tuningfork.training_files.examples import make
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.header import looks_like_data
from tuningfork.training_files.questions import Question, which_columns
from tuningfork.training_files.table import Conversations, FaultsSoFar, Table, Unreadable, listed

Source = str | os.PathLike[str] | Iterable[object] | Mapping[str, object]
"""A file, an https address, `-` for standard input, or the values that a JSON file would hold."""

_SHOWN_FAULTS, _SHOWN_CURES = 20, 5
_ROW = re.compile(r"(?:line|row) (?P<number>\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """What was read of one file. `places[i]` says where `examples[i]` came from, such as "line 7" or "row 3".

    `name` is the file as messages show it, `title` its name for people. `chosen` is None where it holds conversations;
    `form` is the name of their format then. `left_out` are columns that are not used, `notes` sentences for a person.
    """

    name: str
    title: str
    examples: Examples
    places: tuple[str, ...]
    chosen: Chosen | None = None
    form: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def place(self, index: int, field: str) -> str:
        """Where a field of an example is found, such as "pairs.csv, line 7, column 'output'"."""
        where = f"{self.name}, {self.places[index]}"
        if self.chosen is None:
            return where
        if field not in {"text_input", "output"}:
            return where
        names = self.chosen.outputs if field == "output" else self.chosen.inputs
        return f"{where}, {'column' if len(names) == 1 else 'columns'} {listed(names)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What was read, of one file or of several, in their order."""

    files: tuple[ReadFile, ...]

    @property
    def examples(self) -> Examples:
        """The examples of all files."""
        return tuple(example for file in self.files for example in file.examples)

    @property
    def name(self) -> str:
        """The files as messages show them."""
        return ", ".join(file.name for file in self.files)

    @property
    def title(self) -> str:
        """The name of the first file for people, which may become that of a model."""
        return self.files[0].title

    @property
    def places(self) -> tuple[str, ...]:
        """Where each example came from; with the file's name where there are several."""
        several = len(self.files) > 1
        return tuple(f"{file.name}, {place}" if several else place for file in self.files for place in file.places)

    def place(self, index: int, field: str) -> str:
        """Where a field of an example is found: `text_input`, `output`, or "" for the example as a whole."""
        for file in self.files:
            if index < len(file.places):
                return file.place(index, field)
            index -= len(file.places)
        raise IndexError(index)


def read(
    source: Source,
    columns: Columns = AS_FOUND,
    *,
    base_model: str = "",
    max_bytes: int | None = None,
    command: Sequence[str] = (),
    transport: httpx.BaseTransport | None = None,
) -> TrainingData:
    """Read every example, or none.

    Args:
        source: a file, an https address, `-` for standard input, or a list of records, a list of pairs, a list of
            conversations or an object of columns.
        columns: which columns to take, and whether their names become prefixes.
        base_model: what is to be tuned, for the bound of the file's size.
        max_bytes: another bound.
        command: the command line that questions repeat; () makes one of the file's name.
        transport: replaces the network, for tests.

    Raises:
        TrainingFileError: the file is too large or cannot be read, columns are missing or in doubt, or cells are empty
            or no text; `faults` has each with its place, the message the first of them.

    """
    if not isinstance(source, str | os.PathLike):
        question = _question("FILE", columns, command)
        return _alone(_data("the training data", "", lambda: json_table.of_objects(source), columns, question))
    return read_files(
        [source], columns, base_model=base_model, max_bytes=max_bytes, command=command, transport=transport
    )


def read_files(
    sources: Sequence[str | os.PathLike[str]],
    columns: Columns = AS_FOUND,
    *,
    base_model: str = "",
    max_bytes: int | None = None,
    command: Sequence[str] = (),
    transport: httpx.BaseTransport | None = None,
) -> TrainingData:
    """Read every example of several files, or none; together they are held to the bound of one.

    For `Args` and `Raises` see `read`.
    """
    bound = Bound.of(base_model, max_bytes)
    files, left = [], bound.max_bytes
    for source in sources:
        opened = open_source(source, bound, transport)
        left -= len(opened.content)
        if left < 0:
            raise bound.refusal("All files together", bound.max_bytes - left)
        # What follows the path of an address may be a secret.
        name = opened.name if is_url(os.fspath(source)) else os.fspath(source)
        question = _question(name, columns, command)
        files.append(_data(opened.name, opened.title, partial(opened.parsed, columns.header), columns, question))
    return TrainingData(files=tuple(files))


def _alone(file: ReadFile) -> TrainingData:
    return TrainingData(files=(file,))


def _question(name: str, columns: Columns, command: Sequence[str]) -> Question:
    asked = tuple(command) or ("tuningfork", "tune", name)
    return Question(command=asked, header_given=columns.header is not None)


def _data(
    name: str, title: str, parse: Callable[[], Table | Conversations], columns: Columns, question: Question
) -> ReadFile:
    try:
        parsed = parse()
        if isinstance(parsed, Conversations):
            return _of_conversations(name, title, parsed, columns)
        return _of_table(name, title, parsed, columns, question)
    except Unreadable as unreadable:
        raise _error(name, sorted(unreadable.faults, key=_row_number)) from unreadable


def _of_conversations(name: str, title: str, parsed: Conversations, columns: Columns) -> ReadFile:
    if columns.inputs or columns.outputs:
        problem = f"it holds conversations ({parsed.form!r}), which have no columns."
        raise Unreadable(Fault(problem=problem, advice="Leave out --input-key and --output-key."))
    if parsed.faults:
        raise Unreadable(*parsed.faults)
    return ReadFile(
        name=name,
        title=title,
        examples=tuple(placed.conversation for placed in parsed.placed),
        places=tuple(placed.place for placed in parsed.placed),
        form=parsed.form,
        notes=parsed.notes,
    )


def _of_table(name: str, title: str, table: Table, columns: Columns, question: Question) -> ReadFile:
    _check_rows(table, question)
    chosen = choose(table, columns, question)
    examples: list[Conversation] = []
    faults = FaultsSoFar(table.faults)
    for row in table.rows:
        made = make(row, chosen)
        if isinstance(made, Conversation):
            examples.append(made)
        else:
            faults.add(*made)
    if faults.found:
        raise Unreadable(*faults.found)
    used = {*chosen.inputs, *chosen.outputs, chosen.system}
    return ReadFile(
        name=name,
        title=title,
        examples=tuple(examples),
        places=tuple(row.place for row in table.rows),
        chosen=chosen,
        left_out=tuple(column for column in table.columns if column not in used),
        notes=table.notes,
    )


def _check_rows(table: Table, question: Question) -> None:
    if table.rows:
        return
    if table.faults:
        raise Unreadable(*table.faults)
    if table.header_place and not question.header_given and looks_like_data(table):
        raise which_columns(table, question)
    advice = "At least one is needed; some dozens are better."
    raise Unreadable(Fault(problem="it holds no examples.", advice=advice))


def _row_number(fault: Fault) -> int:
    """The order in which a person goes through the file."""
    found = _ROW.match(fault.place)
    return int(found["number"]) if found else 0


def _error(name: str, faults: Sequence[Fault]) -> TrainingFileError:
    """One error for all faults: a line each, as far as they can be read at once, and each cure once."""
    lines = [f"{name}{f', {fault.place}' if fault.place else ''}: {fault.problem}" for fault in faults[:_SHOWN_FAULTS]]
    if len(faults) >= MAX_FAULTS:
        lines.append(f"and at least {len(faults) - _SHOWN_FAULTS:,} faults more; reading stopped there.")
    elif len(faults) > _SHOWN_FAULTS:
        lines.append(f"and {len(faults) - _SHOWN_FAULTS:,} faults more.")
    cures = list(dict.fromkeys(fault.advice for fault in faults if fault.advice))
    return TrainingFileError("\n".join(lines), advice="\n".join(cures[:_SHOWN_CURES]), faults=tuple(faults))
