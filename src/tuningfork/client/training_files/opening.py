"""Reads a training file from the disk, an https address or standard input, within bounds, and finds out its kind."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import httpx

from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files import download
from tuningfork.client.training_files.bounds import Bound
from tuningfork.training_files import recognition
from tuningfork.training_files.table import Conversations, Table, Unreadable
from tuningfork.training_files.unpacking import BEGINNING, gunzipped

STANDARD_INPUT = "-"
_MEDIA_TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-jsonlines": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.apache.parquet": ".parquet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The content of a file, unpacked. `name` is how messages call it, `title` how people do.

    `suffix` says its kind; "" leaves that to the content.
    """

    name: str
    title: str
    suffix: str
    content: bytes

    def parsed(self, header: bool | None = None) -> Table | Conversations:
        """What is in it.

        Raises:
            Unreadable: it is not what its name says, or nothing of it can be read.

        """
        return recognition.parse(self.content, self.suffix, header)


def open_source(source: str | os.PathLike[str], bound: Bound, transport: httpx.BaseTransport | None) -> Opened:
    """Read a file, fetch one if its name is an address, or read standard input if it is `-`.

    Raises:
        TrainingFileError: there is none, it is too large, or damaged.

    """
    name = os.fspath(source)
    if name == STANDARD_INPUT:
        content = _within(sys.stdin.buffer, "standard input", bound)
        return _opened("standard input", "standard input", (), content, bound)
    if download.is_url(name):
        return _fetched(name, bound, transport)
    return _from_disk(Path(name), bound)


def _from_disk(path: Path, bound: Bound) -> Opened:
    try:
        size = path.stat().st_size
        if size > bound.max_bytes:
            raise bound.refusal(str(path), size)
        with path.open("rb") as file:
            # A pipe or a device has no size to ask for.
            content = _within(file, str(path), bound)
    except (OSError, ValueError) as error:
        # ValueError: a name with a zero byte.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TrainingFileError(f"{path} cannot be read: {reason}.", advice="Check its name.") from error
    return _opened(str(path), path.name, path.suffixes, content, bound)


def _within(file: BinaryIO, name: str, bound: Bound) -> bytes:
    pieces = []
    left = bound.max_bytes + 1
    while left > 0 and (piece := file.read(min(left, 1024 * 1024))):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise bound.refusal(name, bound.max_bytes + 1)
    return b"".join(pieces)


def _opened(name: str, filename: str, suffixes: Sequence[str], content: bytes, bound: Bound) -> Opened:
    if content.startswith(BEGINNING):
        content = _gunzipped(name, content, bound)
    if suffixes and suffixes[-1].lower() == ".gz":
        filename, suffixes = filename[: -len(".gz")], suffixes[:-1]
    suffix = suffixes[-1].lower() if suffixes else ""
    known = suffix if suffix in recognition.PARSERS else ""
    title = filename[: -len(suffix)] if known else filename
    # A file's name may be bytes that are no text.
    readable = title.encode("utf-8", "replace").decode("utf-8")
    return Opened(name=name, title=readable, suffix=known, content=content)


def _gunzipped(name: str, content: bytes, bound: Bound) -> bytes:
    try:
        unpacked = gunzipped(content, bound.max_bytes)
    except Unreadable as unreadable:
        (fault,) = unreadable.faults
        raise TrainingFileError(f"{name} is {fault.problem}", advice=fault.advice) from unreadable
    if len(unpacked) > bound.max_bytes:
        raise bound.refusal(f"{name}, unpacked,", len(unpacked))
    return unpacked


def _fetched(url: str, bound: Bound, transport: httpx.BaseTransport | None) -> Opened:
    export = download.sheet_export(url)
    name = download.shown(url)
    got = download.fetch(export or url, bound, transport=transport)
    if export:
        return Opened(name=name, title="spreadsheet", suffix=".csv", content=got.content)
    path = PurePosixPath(unquote(urlsplit(url).path))
    opened = _opened(name, path.name, path.suffixes, got.content, bound)
    suffix = opened.suffix or _MEDIA_TYPES.get(got.media_type, "")
    return Opened(name=name, title=opened.title, suffix=suffix, content=opened.content)
