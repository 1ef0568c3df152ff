"""Which character separates the cells of a text: comma, semicolon, tab or bar.

A first line `sep=;`, which spreadsheet programs write and read, says so. Otherwise the first rows are read with each of
the four, and the one wins that gives them equally many cells; a header of usual names decides at once.
"""

import csv
import io
import re
from itertools import islice

from tuningfork.training_files.column_names import Role, role_of

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
"""Each with its name, the likelier first."""

_SAID = re.compile(r"\s*\"?sep=(?P<separator>[^\w\s\"\\\\]|\t)\"?[ \t]*\r?\n", re.IGNORECASE)
_LOOKED_AT_ROWS = 20
_LOOKED_AT_CHARACTERS = 200_000


def said(text: str) -> tuple[str, int]:
    """The separator that a first line `sep=` names, and where the text behind that line begins; ("", 0) if none."""
    found = _SAID.match(text)
    return (found["separator"], found.end()) if found else ("", 0)


def detected(text: str, preferred: str = "") -> str:
    """The separator of a text's cells; `preferred`, or else the comma, where the text does not tell."""
    candidates = sorted(SEPARATORS, key=lambda each: each != preferred)
    return max(candidates, key=lambda each: _fitness(_first_rows(text, each)))


def _first_rows(text: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text[:_LOOKED_AT_CHARACTERS], newline=""), delimiter=separator)
    try:
        return [row for row in islice(reader, _LOOKED_AT_ROWS) if any(cell.strip() for cell in row)]
    except csv.Error:
        return []


def _fitness(rows: list[list[str]]) -> tuple[bool, float, bool]:
    """How well a separator fits: a header of usual names first, then how many rows are as wide as it, then a pair."""
    if not rows or len(rows[0]) == 1:
        return (False, 0.0, False)
    width = len(rows[0])
    usual = {role_of(name) for name in rows[0]} >= {Role.INPUT, Role.OUTPUT}
    alike = sum(len(row) == width for row in rows) / len(rows)
    return (usual, alike, width == 2)
