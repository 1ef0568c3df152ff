"""What a file is, by its content: one that is read, or one that is named and refused with the cure."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuningfork.training_files import csv_table, json_table, parquet_table, xlsx_table
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.pages import is_page
from tuningfork.training_files.table import Conversations, Table, Unreadable
from tuningfork.training_files.text import decode, wide_encoding

Parse = Callable[[bytes, bool | None], Table | Conversations]
"""From a content, and whether it has a header, to what it holds."""

BINARY = {".xlsx", ".parquet"}
_AS_CSV = "Open it in a spreadsheet program and save it as .xlsx or as CSV."


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of file: what it is called, and what to do with it. `suffix` is that under which it is read."""

    name: str
    advice: str = ""
    suffix: str = ""


_XLSX = _Kind("an XLSX workbook", "Name it *.xlsx.", ".xlsx")
_PARQUET = _Kind("a Parquet file", "Name it *.parquet.", ".parquet")
_GIVE_EXAMPLES = "Give the file of examples itself, as CSV, JSON or XLSX."
_BEGINNINGS: Mapping[bytes, _Kind] = {
    b"PAR1": _PARQUET,
    b"%PDF": _Kind("a PDF document", f"Copy its examples into a spreadsheet. {_GIVE_EXAMPLES}"),
    b"{\\rtf": _Kind("a text document (RTF)", f"Copy its examples into a spreadsheet. {_GIVE_EXAMPLES}"),
    b"\x1f\x8b": _Kind("gzipped twice", "Unpack it, and give the file that was in it."),
    b"BZh": _Kind("packed with bzip2", "Unpack it, and give the file that was in it."),
    b"\xfd7zXZ": _Kind("packed with xz", "Unpack it, and give the file that was in it."),
    b"(\xb5/\xfd": _Kind("packed with zstd", "Unpack it, and give the file that was in it."),
    b"7z\xbc\xaf": _Kind("a 7z archive", "Unpack it, and give the file that was in it."),
    b"Rar!": _Kind("a RAR archive", "Unpack it, and give the file that was in it."),
    b"ARROW1": _Kind("an Arrow file", "Save the table as Parquet or CSV."),
    b"SQLite format 3": _Kind("an SQLite database", "Export the table with the examples as CSV."),
    b"\x89PNG": _Kind("an image", _GIVE_EXAMPLES),
    b"\xff\xd8\xff": _Kind("an image", _GIVE_EXAMPLES),
    b"GIF8": _Kind("an image", _GIVE_EXAMPLES),
    b"version https://git-lfs": _Kind("the pointer to a large file of a Git repository", "Fetch it: git lfs pull."),
}
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_LOOKED_AT_BYTES = 4_096


def _is_text(content: bytes) -> bool:
    return b"\0" not in content[:_LOOKED_AT_BYTES] or bool(wide_encoding(content))


def _text(content: bytes, header: bool | None) -> Table | Conversations:
    """What a text of an unknown kind holds: JSON if it begins like it, else rows of cells."""
    if not _is_text(content):
        raise Unreadable(Fault(problem="its content is no text, and of no kind that is known.", advice=_GIVE_EXAMPLES))
    text = decode(content)
    if text.lstrip().startswith(("{", "[")):
        return json_table.read_text(text)
    return csv_table.read_text(text, header=header)


PARSERS: Mapping[str, Parse] = {
    ".csv": lambda content, header: csv_table.read(content, header=header),
    ".tsv": lambda content, header: csv_table.read(content, header=header, preferred="\t"),
    ".txt": _text,
    ".json": lambda content, _header: json_table.read(content),
    ".jsonl": lambda content, _header: json_table.read(content),
    ".ndjson": lambda content, _header: json_table.read(content),
    ".xlsx": lambda content, header: xlsx_table.read(content, header=header),
    ".parquet": lambda content, _header: parquet_table.read(content),
}
"""How a file is read, by its suffix."""


def parse(content: bytes, suffix: str, header: bool | None) -> Table | Conversations:
    """What a file holds.

    Args:
        content: its bytes.
        suffix: of its name, one of `PARSERS`; "" where the content alone has to tell.
        header: whether the first row names the columns; None leaves it open.

    Raises:
        Unreadable: it is of a kind that is not read, not what its name says, or nothing of it can be read.

    """
    if not content.strip():
        raise Unreadable(Fault(problem="the file is empty.", advice="Export it again, or give another file."))
    found = _kind_of(content)
    if found is not None and (not found.suffix or suffix not in {found.suffix, ""}):
        told = f", not {suffix[1:].upper()}" if found.suffix else ""
        raise Unreadable(Fault(problem=f"its content is {found.name}{told}.", advice=found.advice))
    if found is not None:
        return PARSERS[found.suffix](content, header)
    if suffix in BINARY and _is_text(content):
        raise Unreadable(
            Fault(problem=f"its content is text, not {suffix[1:].upper()}.", advice="Name it *.csv, *.json or *.jsonl.")
        )
    return PARSERS[suffix or ".txt"](content, header)


def _kind_of(content: bytes) -> _Kind | None:
    """The kind of a file that cannot be mistaken for another; None for plain text, and for what is not known."""
    if content.startswith(_OLD_OFFICE):
        return _old_office(content)
    if content.startswith(b"PK\x03\x04"):
        return _archive(content)
    if is_page(content):
        return _Kind("a page for people (HTML)", f"Download the file instead of its page. {_AS_CSV}")
    if content.lstrip().startswith(b"<?xml"):
        return _Kind("an XML document", _AS_CSV)
    return next((kind for beginning, kind in _BEGINNINGS.items() if content.startswith(beginning)), None)


def _old_office(content: bytes) -> _Kind:
    def holds(name: str) -> bool:
        return name.encode("utf-16-le") in content

    if holds("EncryptedPackage"):
        return _Kind("a workbook with a password", "Open it in a spreadsheet program and save it without one.")
    if holds("WordDocument"):
        return _Kind("an old Word document (.doc)", f"Copy its examples into a spreadsheet. {_GIVE_EXAMPLES}")
    return _Kind("an old .xls workbook, or one with a password", f"{_AS_CSV[:-1]}, without a password.")


_MEMBERS: Mapping[str, _Kind] = {
    "word/": _Kind("a Word document", f"Copy its examples into a spreadsheet. {_GIVE_EXAMPLES}"),
    "ppt/": _Kind("a PowerPoint presentation", f"Copy its examples into a spreadsheet. {_GIVE_EXAMPLES}"),
    "content.xml": _Kind("an OpenDocument file (.ods, .odt)", _AS_CSV),
    "Index/": _Kind("a Numbers or Pages document", "Export it as CSV."),
    "xl/workbook.bin": _Kind("a binary workbook (.xlsb)", _AS_CSV),
}


def _archive(content: bytes) -> _Kind:
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except Exception:  # noqa: BLE001 - whatever a damaged archive makes of the library, the workbook reader names it
        return _XLSX
    for member, kind in _MEMBERS.items():
        if any(name.startswith(member) for name in names):
            return kind
    if any(name.startswith(("xl/", "[Content_Types]")) for name in names):
        return _XLSX
    return _Kind("a ZIP archive", "Unpack it, and give the file that was in it.")
