"""Writes a dataset's examples to a file as they arrive, and computes their digest and statistics."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuningfork.domain.conversation import Example
from tuningfork.domain.dataset import DatasetStatistics, characters_of
from tuningfork.domain.dataset_lines import line_of
from tuningfork.store.full_disk import full_disk_reported

ASIDE = ".aside"
"""The suffix of temporary files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedDataset:
    """A complete dataset file that no job owns yet. `digest` is the SHA-256 of its content."""

    path: Path
    count: int
    digest: str
    statistics: DatasetStatistics


@contextmanager
def staged(directory: Path, examples: Iterable[Example], name: str = "") -> Iterator[StagedDataset]:
    """Write examples to a file that is removed at the end of the `with` block unless it was moved.

    The examples are read one at a time, and none is kept in memory.

    Args:
        directory: the directory of the file.
        examples: the examples to write.
        name: the file's name without its suffix; "": a name that no other file has.

    Raises:
        ResourceExhausted: the disk is full.

    """
    path = directory / f"{name}{ASIDE}" if name else _unused(directory)
    try:
        with full_disk_reported():
            dataset = _write(path, examples)
        yield dataset
    finally:
        path.unlink(missing_ok=True)


def _unused(directory: Path) -> Path:
    descriptor, path = tempfile.mkstemp(dir=directory, suffix=ASIDE)
    os.close(descriptor)
    return Path(path)


def _write(path: Path, examples: Iterable[Example]) -> StagedDataset:
    digest = hashlib.sha256()
    count = characters = longest = 0
    with path.open("wb") as lines:
        for example in examples:
            line = line_of(example)
            digest.update(line)
            lines.write(line)
            own = characters_of(example)
            count, characters, longest = count + 1, characters + own, max(longest, own)
        lines.flush()
        os.fsync(lines.fileno())
    statistics = DatasetStatistics(characters=characters, longest_characters=longest)
    return StagedDataset(path=path, count=count, digest=digest.hexdigest(), statistics=statistics)
