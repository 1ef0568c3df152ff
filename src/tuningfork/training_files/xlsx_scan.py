"""A look through all parts of a workbook before it is read: what would take too much memory, and what is hidden.

The library that reads workbooks makes objects of a whole row, and of whole parts other than sheets, before anybody can
count them. A few kilobytes of packed XML hold millions of elements; here they are counted as they pass.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from tuningfork.training_files.bounds import MAX_COLUMNS
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.table import FEW_COLUMNS, Unreadable, listed

MAX_ELEMENTS = 3_000_000
"""Of sheets and shared strings: some million cells."""
MAX_OTHER_ELEMENTS = 200_000
"""Of each other part, such as styles."""
MAX_ROW_ELEMENTS = 50_000
"""Of one row: a thousand cells, and what is in them."""
MAX_DEPTH = 100
MAX_FORMAT_CHARACTERS = 255
"""As spreadsheet programs have it. The library's patterns take hours with some longer ones."""

_PIECE_BYTES = 64 * 1024
_LONG_ROOTS = {"worksheet", "sst"}
_LONG_PARTS = re.compile(r"xl/(worksheets/[^/]*|sharedstrings)\.xml", re.IGNORECASE)
_COLUMN = re.compile(r"[A-Za-z]{1,}")
_HIDDEN = {"1", "true"}


@dataclass(slots=True)
class Scanned:
    """What was seen. `sheets` are names and states in order, `targets` parts by the ids of relations."""

    sheets: list[tuple[str, str, str]] = field(default_factory=list)
    targets: dict[str, str] = field(default_factory=dict)
    hidden_rows: dict[str, list[int]] = field(default_factory=dict)
    hidden_columns: set[str] = field(default_factory=set)
    has_formulas: bool = False

    @property
    def first_sheet(self) -> str:
        """The name of the first sheet that is not hidden, or else of the first one; "" if there is none."""
        return next((sheet[0] for sheet in [*self._visible, *self.sheets]), "")

    @property
    def _visible(self) -> list[tuple[str, str, str]]:
        return [sheet for sheet in self.sheets if sheet[1] == "visible"]

    def notes(self) -> Iterator[str]:
        """What a person who looks at the workbook does not see, or what is left out of it."""
        others = [name for name, _, _ in self.sheets if name != self.first_sheet]
        if others:
            hidden = [name for name, state, _ in self.sheets if state != "visible" and name in others]
            told = f" ({listed(hidden)} hidden)" if hidden else ""
            yield f"Only the sheet {listed([self.first_sheet])} is read, and not {listed(others)}{told}."
        part = self._part_of(self.first_sheet)
        if rows := self.hidden_rows.get(part):
            yield f"{len(rows):,} hidden rows of the sheet are read like the others, such as row {rows[0]}."
        if part in self.hidden_columns:
            yield "The sheet has hidden columns, which are read like the others."

    def _part_of(self, sheet: str) -> str:
        relation = next((relation for name, _, relation in self.sheets if name == sheet), "")
        return self.targets.get(relation, "").rpartition("/")[2]


def scan(archive: zipfile.ZipFile) -> Scanned:
    """Look through all parts of a workbook, one after the other.

    Raises:
        Unreadable: a part has too many elements, a row too many cells.

    """
    seen = Scanned()
    for name in archive.namelist():
        part = _Part(name, seen)
        try:
            with archive.open(name) as file:
                while piece := file.read(_PIECE_BYTES):
                    part.parser.Parse(piece)
        except expat.ExpatError:
            # An image, or a part that the library will stumble over as well.
            continue
    return seen


class _Part:
    """Counts the elements of one part while they pass."""

    def __init__(self, name: str, seen: Scanned) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = _refuse_declarations
        self._name = name
        self._short_name = name.rpartition("/")[2]
        self._seen = seen
        self._elements = self._depth = 0
        self._most = MAX_OTHER_ELEMENTS
        self._row_depth = self._row_elements = self._cells = self._row = 0
        self._row_is_hidden = False

    def _begin(self, qualified: str, attributes: Mapping[str, str]) -> None:
        name = qualified.rpartition(" ")[2]
        self._elements += 1
        self._depth += 1
        if self._depth == 1 and name in _LONG_ROOTS and _LONG_PARTS.fullmatch(self._name):
            self._most = MAX_ELEMENTS
        if self._elements > self._most:
            raise _too_large(f"its part {self._name!r:.80} has more than {self._most:,} elements")
        if self._depth > MAX_DEPTH:
            raise _too_large(f"its part {self._name!r:.80} is nested more than {MAX_DEPTH} deep")
        if self._row_depth:
            self._in_row(name, attributes)
        elif name == "row":
            self._begin_row(attributes)
        elif name == "numFmt" and len(attributes.get("formatCode", "")) > MAX_FORMAT_CHARACTERS:
            raise _too_large(f"it has a number format of more than {MAX_FORMAT_CHARACTERS} characters")
        elif name == "col" and attributes.get("hidden") in _HIDDEN:
            self._seen.hidden_columns.add(self._short_name)
        elif name == "sheet":
            relation = next((value for key, value in attributes.items() if key.endswith(" id")), "")
            self._seen.sheets.append((attributes.get("name", ""), attributes.get("state", "visible"), relation))
        elif name == "Relationship" and self._short_name.lower() == "workbook.xml.rels":
            self._seen.targets[attributes.get("Id", "")] = attributes.get("Target", "")

    def _begin_row(self, attributes: Mapping[str, str]) -> None:
        self._row_depth = self._depth
        number = attributes.get("r", "")
        self._row = int(number) if number.isdecimal() and len(number) < 10 else self._row + 1
        self._row_is_hidden = attributes.get("hidden") in _HIDDEN
        self._row_elements = self._cells = 0

    def _in_row(self, name: str, attributes: Mapping[str, str]) -> None:
        self._row_elements += 1
        self._cells += self._depth == self._row_depth + 1
        self._seen.has_formulas |= name == "f"
        if self._cells > MAX_COLUMNS or self._row_elements > MAX_ROW_ELEMENTS:
            raise _too_wide(self._row)
        if name == "c" and (letters := _COLUMN.match(attributes.get("r", ""))) and _number_of(letters[0]) > MAX_COLUMNS:
            raise _too_wide(self._row)

    def _end(self, _name: str) -> None:
        if self._depth == self._row_depth:
            self._row_depth = 0
            if self._row_is_hidden and self._cells:
                self._seen.hidden_rows.setdefault(self._short_name, []).append(self._row)
        self._depth -= 1


def _number_of(letters: str) -> int:
    """The number of a column: A is 1, AA is 27."""
    if len(letters) > 3:
        return MAX_COLUMNS + 1
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _refuse_declarations(*_: object) -> None:
    raise ValueError("a workbook declares no document type")


def _too_wide(row: int) -> Unreadable:
    problem = f"it reaches beyond {MAX_COLUMNS:,} columns."
    return Unreadable(Fault(place=f"row {row}", problem=problem, advice=FEW_COLUMNS))


def _too_large(what: str) -> Unreadable:
    return Unreadable(Fault(problem=f"{what}.", advice="Save the sheet with the examples as a CSV file."))
