"""Parquet files: every column that holds text, numbers or times, read batch by batch and never beyond the bounds."""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tuningfork.training_files.faults import Fault
from tuningfork.training_files.numbers_as_seen import general
from tuningfork.training_files.table import Cell, NoText, Table, Unreadable, below_header

if TYPE_CHECKING:
    import pyarrow as pa

MAX_EXPANDED_BYTES = 64 * 1024 * 1024
"""What the column chunks may unpack to, by the file's own account."""
MAX_ROWS = 1_000_000
MAX_CHARACTERS = 128 * 1024 * 1024
"""Of all rows together: an encoded file may repeat one long text a million times."""
_BATCH_ROWS = 8
"""So few because each of them may be that one long text, and a batch is unpacked before it can be measured."""

_NO_FRACTION = re.compile(r"\.0+(?=Z?$)")


def read(content: bytes) -> Table:
    """The table of a Parquet file; values of nested and other types are there, but as what they are.

    Raises:
        Unreadable: it is no Parquet file, a damaged one, or one beyond the bounds; or the library that reads them is
            not installed.

    """
    try:
        # A tenth of a second, and 170 MB on the disk that other files need not spend.
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        advice = 'Install it with: pip install "tuningfork[parquet]"'
        raise Unreadable(
            Fault(problem="reading Parquet needs pyarrow, which is not installed.", advice=advice)
        ) from error
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        _check_size(file)
        return below_header("", file.schema_arrow.names, _rows(file))
    except Unreadable:
        raise
    # A parser of foreign files may stumble in any way over a damaged one.
    except Exception as error:
        problem = f"not a Parquet file, or a damaged one ({type(error).__name__})."
        raise Unreadable(Fault(problem=problem)) from error


def _check_size(file: Any) -> None:
    about = file.metadata
    expanded = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if about.num_rows > MAX_ROWS or expanded > MAX_EXPANDED_BYTES:
        raise _too_large(f"{about.num_rows:,} rows and {expanded:,} bytes")


def _too_large(what: str) -> Unreadable:
    return Unreadable(
        Fault(
            problem=f"it unpacks to {what}; at most {MAX_ROWS:,} rows and {MAX_EXPANDED_BYTES:,} bytes are read.",
            advice="Keep the best examples: a few hundred usually teach as much as many thousands.",
        )
    )


def _rows(file: Any) -> Iterator[tuple[str, list[Cell]]]:
    number, characters = 0, 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
        columns = [_cells(column) for column in batch.columns]
        for cells in zip(*columns, strict=True):
            number += 1
            characters += sum(len(cell) for cell in cells if isinstance(cell, str))
            yield f"row {number}", list(cells)
        if characters > MAX_CHARACTERS or number > MAX_ROWS:
            raise _too_large(f"more than {number:,} rows and {characters:,} characters")


def _cells(column: "pa.Array[Any]") -> list[Cell]:
    from pyarrow import types  # noqa: PLC0415

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_floating(kind):
        # By way of text, a float32 of 0.1 stays 0.1.
        return [_number(text) for text in column.cast("string").to_pylist()]
    if types.is_temporal(kind) and not types.is_duration(kind) and not types.is_interval(kind):
        return [text and _NO_FRACTION.sub("", text) for text in column.cast("string").to_pylist()]
    if any(
        is_kind(kind) for is_kind in (types.is_integer, types.is_string, types.is_large_string, types.is_string_view)
    ) or types.is_decimal(kind):
        return list(column.cast("string").to_pylist())
    refused = NoText(kind=f"a value of type {kind}", advice="Convert the column to text.")
    return [None if missing else refused for missing in column.is_null().to_pylist()]


def _number(text: str | None) -> Cell:
    if text is None:
        return None
    return general(float(text)) or NoText(kind=f"the number {text}")
