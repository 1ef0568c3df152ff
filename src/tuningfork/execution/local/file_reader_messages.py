"""The messages between the server and a reader of files."""

from dataclasses import dataclass
from pathlib import Path

from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.staged_dataset import ReadFile


@dataclass(frozen=True, slots=True)
class ReadThis:
    """To a reader, once: read this file; see `FileReaders.read`."""

    file: Path
    name: str
    to: Path
    header: bool | None


@dataclass(frozen=True, slots=True)
class FileWasRead:
    """From a reader: the rows are written."""

    read: ReadFile


@dataclass(frozen=True, slots=True)
class FileRefused:
    """From a reader: the file cannot be read."""

    error: TuningforkError


FileReport = FileWasRead | FileRefused
