"""Random access to the examples of a dataset file, without keeping them in memory."""

import hashlib
import os
import weakref
from array import array
from collections.abc import Iterator
from pathlib import Path

from tuningfork.domain.conversation import Example
from tuningfork.domain.dataset_lines import example_in


class DatasetFile:
    """The examples of a dataset file (`domain/dataset_lines.py`), each read from the file at every access.

    The file is read once to find where its lines begin: eight bytes for each line stay in memory. The file stays open,
    so that examples can be read even after its name has been removed.

    Attributes:
        digest: the SHA-256 of the file's content, in hexadecimal digits.

    """

    def __init__(self, path: Path) -> None:
        digest = hashlib.sha256()
        self._begins = array("Q", [0])
        with path.open("rb") as lines:
            for line in lines:
                digest.update(line)
                self._begins.append(self._begins[-1] + len(line))
            self._descriptor = os.dup(lines.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self._begins) - 1

    def __getitem__(self, index: int, /) -> Example:
        """The example with this index."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        begin, end = self._begins[index], self._begins[index + 1]
        return example_in(os.pread(self._descriptor, end - begin, begin))

    def __iter__(self) -> Iterator[Example]:
        """All examples in order."""
        return (self[index] for index in range(len(self)))
