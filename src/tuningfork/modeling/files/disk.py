"""Writes files that must survive a crash of the machine."""

import os
import re
from pathlib import Path

_RUSTS_NUMBER = re.compile(r"\(os error (?P<number>\d+)\)")


def as_os_error(error: Exception) -> OSError:
    """Convert an error of safetensors to an `OSError`; the system's error number is read from the error's text."""
    found = _RUSTS_NUMBER.search(str(error))
    return OSError(int(found["number"]), str(error)) if found else OSError(str(error))


def reach_disk(path: Path) -> None:
    """Flush a file, or a directory's entries, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
