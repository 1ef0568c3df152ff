"""Writes files and directories so that they survive a crash of the machine."""

import os
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_MOST_AT_ONCE = 8


def sync(path: Path) -> None:
    """Flush the file, or the directory's entries, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_together(paths: Collection[Path]) -> None:
    """Flush several paths at the same time. It takes hardly longer than one, since file systems write one batch."""
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(paths))) as threads:
        # A list, so that an error is raised here.
        list(threads.map(sync, paths))


def tree(path: Path) -> list[Path]:
    """The file, or the directory and all files and directories below it."""
    return [path, *path.rglob("*")] if path.is_dir() else [path]


def files_below(directory: Path) -> list[Path]:
    """All files below the directory, sorted; none if it is not there. Others may add and remove some meanwhile.

    `Path.rglob` raises FileNotFoundError where a directory goes away while it is read.

    Raises:
        OSError: a directory that is there cannot be read.

    """
    found = os.walk(directory, onerror=_raise_unless_gone)
    return sorted(Path(folder, name) for folder, _, names in found for name in names)


def entries_of(directory: Path) -> list[Path]:
    """The entries of the directory, sorted; none if it is not there.

    Raises:
        OSError: it cannot be read.

    """
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def write_aside(path: Path, content: bytes) -> None:
    """Write a small file for its user only, in place of an earlier one: whole, and on the disk on return."""
    aside = path.with_name(path.name + ".aside")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)


def make_private(directory: Path) -> None:
    """Create the directory and those above it that are missing, all for the server's user only."""
    for missing in reversed([path for path in (directory, *directory.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def remove(path: Path) -> None:
    """Remove the file or the directory; no error if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # A directory may have been moved there since.
        if not path.is_dir():
            raise
        shutil.rmtree(path, ignore_errors=True)
