"""The protocol between the service and the readers of uploaded files."""

from pathlib import Path
from typing import Protocol

from tuningfork.domain.staged_dataset import ReadFile


class FileReaders(Protocol):
    """Reads files that anybody may have made, within limits of memory and time."""

    def read(self, file: Path, name: str, to: Path, *, header: bool | None = None) -> ReadFile:
        """Read the rows of a file, and write them to a new file of lines (`domain.staged_row_lines`).

        Args:
            file: the file.
            name: its name; the suffix says its kind, unless the content does.
            to: the new file; it must not exist, and may be left behind by a reading that fails.
            header: whether the first row of a table names its columns; None: the file tells.

        Raises:
            InvalidArgument: it is no file that can be read, or one beyond the limits.
            ResourceExhausted: the disk is full, or too many files are being read.
            WorkerDied: the reader ended in the middle of its work.

        """
        ...
