"""From a file, an address or plain Python values to a dataset: all of it, or an error that names each fault."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from tuningfork.client.errors import Fault, TrainingFileError
from tuningfork.client.training_files import json_table
from tuningfork.client.training_files.bounds import Bound
from tuningfork.client.training_files.examples import AS_FOUND, Chosen, Columns, choose, make
from tuningfork.client.training_files.opening import open_source
from tuningfork.client.training_files.table import Table, Unreadable, listed
from tuningfork.domain.dataset import Dataset, Example

Source = str | os.PathLike[str] | Iterable[object] | Mapping[str, object]
"""A file, an https address, or the values that a JSON file would hold."""

_SHOWN_FAULTS, _SHOWN_CURES = 20, 5
_ROW = re.compile(r"(?:line|row) (?P<number>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What was read. `places[i]` says where `examples[i]` came from, such as "line 7" or "row 3".

    `name` is the file as messages show it, `title` its name for people.
    """

    name: str
    title: str
    examples: Dataset
    places: tuple[str, ...]
    chosen: Chosen

    def place(self, index: int, field: str) -> str:
        """Where `text_input` or `output` of an example is found, such as "pairs.csv, line 7, column 'output'"."""
        names = self.chosen.inputs if field == "text_input" else self.chosen.outputs
        return f"{self.name}, {self.places[index]}, {'column' if len(names) == 1 else 'columns'} {listed(names)}"


def read(
    source: Source,
    columns: Columns = AS_FOUND,
    *,
    base_model: str = "",
    max_bytes: int | None = None,
    transport: httpx.BaseTransport | None = None,
) -> TrainingData:
    """Read every example, or none.

    Args:
        source: a file named *.csv, *.json, *.jsonl, *.xlsx or *.parquet, an https address, or a list of records, a
            list of pairs or an object of columns.
        columns: which columns to take, and whether their names become prefixes.
        base_model: what is to be tuned, for the bound of the file's size.
        max_bytes: another bound.
        transport: replaces the network, for tests.

    Raises:
        TrainingFileError: the file is too large or cannot be read, columns are missing, or cells are empty or no
            text; `faults` has each with its place, the message the first of them.

    """
    if not isinstance(source, str | os.PathLike):
        return _data("the training data", "", lambda: json_table.of_objects(source), columns)
    opened = open_source(source, Bound.of(base_model, max_bytes), transport)
    return _data(opened.name, opened.title, opened.table, columns)


def _data(name: str, title: str, parse: Callable[[], Table], columns: Columns) -> TrainingData:
    try:
        table = parse()
        _check_rows(table)
        chosen = choose(table, columns)
    except Unreadable as unreadable:
        raise _error(name, unreadable.faults) from unreadable
    made = [make(row, chosen) for row in table.rows]
    faults = [*table.faults, *(fault for each in made if not isinstance(each, Example) for fault in each)]
    if faults:
        raise _error(name, sorted(faults, key=_row_number))
    return TrainingData(
        name=name,
        title=title,
        examples=tuple(example for example in made if isinstance(example, Example)),
        places=tuple(row.place for row in table.rows),
        chosen=chosen,
    )


def _check_rows(table: Table) -> None:
    if table.rows:
        return
    if table.faults:
        raise Unreadable(*table.faults)
    if table.columns or not table.header_place:
        advice = "At least one is needed; some dozens are better."
        raise Unreadable(Fault(problem="it holds no examples.", advice=advice))


def _row_number(fault: Fault) -> int:
    """The order in which a person goes through the file."""
    found = _ROW.match(fault.place)
    return int(found["number"]) if found else 0


def _error(name: str, faults: Sequence[Fault]) -> TrainingFileError:
    """One error for all faults: a line each, as far as they can be read at once, and each cure once."""
    lines = [f"{name}{f', {fault.place}' if fault.place else ''}: {fault.problem}" for fault in faults[:_SHOWN_FAULTS]]
    if len(faults) > _SHOWN_FAULTS:
        lines.append(f"and {len(faults) - _SHOWN_FAULTS:,} faults more.")
    cures = list(dict.fromkeys(fault.advice for fault in faults if fault.advice))
    return TrainingFileError("\n".join(lines), advice="\n".join(cures[:_SHOWN_CURES]), faults=tuple(faults))
