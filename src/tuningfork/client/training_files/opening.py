"""A source becomes bytes of a known kind: from the disk or from an https address, within a bound."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import httpx

from tuningfork.client.errors import Fault, TrainingFileError
from tuningfork.client.training_files import csv_table, download, json_table, parquet_table, xlsx_table
from tuningfork.client.training_files.bounds import Bound
from tuningfork.client.training_files.table import Table, Unreadable

_PARSERS: Mapping[str, Callable[[bytes], Table]] = {
    ".csv": csv_table.read,
    ".json": json_table.read_json,
    ".jsonl": json_table.read_jsonl,
    ".xlsx": xlsx_table.read,
    ".parquet": parquet_table.read,
}
_MEDIA_TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-jsonlines": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.apache.parquet": ".parquet",
}
_BEGINNINGS = {
    b"PK\x03\x04": ("a ZIP archive, as .xlsx workbooks are", ".xlsx"),
    b"PAR1": ("a Parquet file", ".parquet"),
    b"\xd0\xcf\x11\xe0": ("an old .xls workbook, or one with a password", ".xlsx"),
    b"\x1f\x8b": ("gzipped", ""),
    b"%PDF": ("a PDF document", ""),
}
"""What files begin with that are of one kind and no other, and the suffix under which they are read or explained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The content of a file. `name` is how messages call it, `title` how people do; the suffix says its kind."""

    name: str
    title: str
    suffix: str
    content: bytes

    def table(self) -> Table:
        """What is in it.

        Raises:
            Unreadable: it is not what its name says, or nothing of it can be read.

        """
        for beginning, (what, suffix) in _BEGINNINGS.items():
            if self.content.startswith(beginning) and suffix != self.suffix:
                advice = f"Name it *{suffix}." if suffix else "Give the file of examples itself."
                problem = f"its content is {what}, not {self.suffix[1:].upper()}."
                raise Unreadable(Fault(problem=problem, advice=advice))
        return _PARSERS[self.suffix](self.content)


def open_source(source: str | os.PathLike[str], bound: Bound, transport: httpx.BaseTransport | None) -> Opened:
    """Read a file, or fetch one if its name is an address.

    Raises:
        TrainingFileError: there is none, it is too large, or nothing says how to read it.

    """
    name = os.fspath(source)
    return _fetched(name, bound, transport) if download.is_url(name) else _from_disk(Path(name), bound)


def _from_disk(path: Path, bound: Bound) -> Opened:
    suffix = path.suffix.lower()
    if suffix not in _PARSERS:
        raise _unknown_kind(str(path), "it has no suffix that says so")
    try:
        size = path.stat().st_size
        if size > bound.max_bytes:
            raise bound.refusal(str(path), size)
        with path.open("rb") as file:
            # A pipe or a device has no size to ask for.
            content = _at_most(file, bound.max_bytes + 1)
    except OSError as error:
        raise TrainingFileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > bound.max_bytes:
        raise bound.refusal(str(path), len(content))
    return Opened(name=str(path), title=path.stem, suffix=suffix, content=content)


def _at_most(file: BinaryIO, count: int) -> bytes:
    pieces = []
    while count > 0 and (piece := file.read(min(count, 1024 * 1024))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _fetched(url: str, bound: Bound, transport: httpx.BaseTransport | None) -> Opened:
    export = download.sheet_export(url)
    name = download.shown(url)
    got = download.fetch(export or url, bound, transport=transport)
    path = PurePosixPath(unquote(urlsplit(url).path))
    suffix = ".csv" if export else path.suffix.lower()
    if suffix not in _PARSERS:
        suffix = _MEDIA_TYPES.get(got.media_type, "")
    if not suffix:
        told = f"its type is {got.media_type}" if got.media_type else "its type is not told"
        raise _unknown_kind(name, f"{told}, and its address has no suffix that says so")
    return Opened(name=name, title="spreadsheet" if export else path.stem, suffix=suffix, content=got.content)


def _unknown_kind(name: str, reason: str) -> TrainingFileError:
    suffixes = ", ".join(f"*{suffix}" for suffix in _PARSERS)
    return TrainingFileError(
        f"{name}: how to read it is not known; {reason}.", advice=f"Name it {suffixes}, after its content."
    )
