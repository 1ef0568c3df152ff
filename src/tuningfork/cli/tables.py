"""Tables for a person at a terminal that fit its width.

Names stay in one piece, since half a name cannot be pasted. Where they leave too little room for the other columns,
each row is written as a list of its fields.
"""

import shutil
from collections.abc import Sequence

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.client.terminal import harmless

WHOLE = frozenset({"name", "model", "base model", "id", "group", "address"})
"""Columns of names, whose texts are never folded."""
NUMBERS = frozenset({"tokens in", "tokens out", "members"})

_LEAST_WIDTH = 12
"""Columns of other texts may be folded to this many cells, or to their longest word if it is shorter."""
_GAP = 2
"""Blanks between two columns: one of the padding, and one that is the box's line."""

_UNDERLINED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to standard output.

    Args:
        title: above it.
        columns: their headings, of which the first is that of the rows' names.
        rows: one text for each column; texts of others may hold anything.

    """
    # Rich takes a terminal without a cursor for one of 80 columns, if it is not told both.
    width, height = shutil.get_terminal_size()
    console = Console(highlight=False, width=width, height=height)
    texts = [[harmless(text) for text in row] for row in rows]
    widths = [_least_width(column, [row[index] for row in texts]) for index, column in enumerate(columns)]
    console.print(Text(title, "bold"))
    if sum(widths) + _GAP * (len(columns) - 1) <= console.width:
        console.print(_table(columns, texts, widths))
        return
    for row in texts:
        console.print(Text(row[0]), soft_wrap=True)
        _show_fields(console, columns[1:], row[1:])


def _least_width(column: str, texts: Sequence[str]) -> int:
    if column in WHOLE:
        return max(map(cell_len, [column, *texts]))
    words = [word for text in [column, *texts] for word in text.split()]
    return min(_LEAST_WIDTH, max(map(cell_len, words), default=0))


def _table(columns: Sequence[str], texts: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    table = Table(box=_UNDERLINED, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column,
            min_width=width,
            no_wrap=column in WHOLE,
            overflow="fold",
            justify="right" if column in NUMBERS else "left",
        )
    for row in texts:
        table.add_row(*map(Text, row))
    return table


def _show_fields(console: Console, columns: Sequence[str], texts: Sequence[str]) -> None:
    labels = max(map(cell_len, columns))
    for column, text in zip(columns, texts, strict=True):
        label = f"  {column:<{labels}}  "
        if column in WHOLE:
            console.print(Text.assemble((label, "dim"), text), soft_wrap=True)
            continue
        field = Table.grid()
        field.add_column(style="dim", min_width=len(label), no_wrap=True)
        field.add_column(overflow="fold")
        field.add_row(label, Text(text))
        console.print(field)
