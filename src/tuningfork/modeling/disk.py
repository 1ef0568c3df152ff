"""Files that must outlast a crash of the machine."""

import os
from pathlib import Path


def reach_disk(path: Path) -> None:
    """Return when the file, or the directory's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
