"""Whether a row names columns or is an example already, and what a column without a telling name seems to hold."""

import re
from collections.abc import Sequence
from itertools import pairwise

from tuningfork.training_files.table import Table

_LOOKED_AT_ROWS = 1_000
_LONGEST_NAME = 50
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
_END_OF_A_SENTENCE = (".", "?", "!", "。", "?", "!", "।", "…")
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


def looks_like_data(table: Table) -> bool:
    """Whether the row that should name the columns looks like an example: a number, a sentence, a text of below."""
    return any(_is_no_name(name) or _stands_below(name, table) for name in table.columns)


def _is_no_name(name: str) -> bool:
    return (
        _NUMBER.fullmatch(name) is not None
        or len(name) > _LONGEST_NAME
        or name.endswith(_END_OF_A_SENTENCE)
        or "\n" in name
    )


def _stands_below(name: str, table: Table) -> bool:
    return any(row.cells.get(name) == name for row in table.rows[:_LOOKED_AT_ROWS])


def is_index(texts: Sequence[str]) -> bool:
    """Whether these texts of a column count the rows, or identify them."""
    seen = texts[:_LOOKED_AT_ROWS]
    if len(seen) < 3:
        return False
    if all(_IDENTIFIER.fullmatch(text.strip()) for text in seen):
        return True
    if not all(len(text) < 12 and text.strip().isdecimal() for text in seen):
        return False
    numbers = [int(text) for text in seen]
    return all(after - before == 1 for before, after in pairwise(numbers))


def is_label(texts: Sequence[str]) -> bool:
    """Whether these texts of a column are few and short ones that come again and again."""
    seen = texts[:_LOOKED_AT_ROWS]
    different = {text.strip() for text in seen}
    return len(seen) >= 4 and len(different) * 2 <= len(seen) and all(len(text) <= 30 for text in different)
