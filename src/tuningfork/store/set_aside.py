"""Moves files that the database does not know to a folder in the data directory, instead of removing them.

    set-aside/<time>/<the file's former path>

The files keep their relative paths, so that moving the folder's content back undoes it. A server never reads or removes
anything in `set-aside`.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from tuningfork.artifacts.durable import sync_together

DIRECTORY = "set-aside"


def set_aside(root: Path, paths: Iterable[Path], time: datetime) -> Path | None:
    """Move those of the paths below `root` that exist; on return this has reached the disk.

    Returns:
        The folder where they are now; None: none of the paths exists.

    Raises:
        OSError: a path cannot be moved, for example since it is on another file system; it stays where it is.

    """
    folder: Path | None = None
    parents: set[Path] = set()
    for path in paths:
        if not os.path.lexists(path):
            continue
        folder = folder or _new_folder(root / DIRECTORY, time)
        place = folder / path.relative_to(root)
        for parent in reversed([parent for parent in place.parents if parent.is_relative_to(folder)]):
            parent.mkdir(mode=0o700, exist_ok=True)
            parents.add(parent)
        path.rename(place)
        parents.add(path.parent)
    if folder is not None:
        sync_together([*parents, folder.parent, root])
    return folder


def _new_folder(directory: Path, time: datetime) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    name = f"{time:%Y-%m-%dT%H%M%SZ}"
    for suffix in ("", *(f"-{number}" for number in range(2, 1_000))):
        try:
            (directory / f"{name}{suffix}").mkdir(mode=0o700)
        except FileExistsError:
            continue
        return directory / f"{name}{suffix}"
    raise FileExistsError(f"{directory / name} and 998 others of its name are taken")
