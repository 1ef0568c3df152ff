"""Files that must outlast a crash of the machine."""

import os
import re
from pathlib import Path

_RUSTS_NUMBER = re.compile(r"\(os error (?P<number>\d+)\)")


def as_os_error(error: Exception) -> OSError:
    """What safetensors could not write, as Python tells it: with the system's number, which is in its words."""
    found = _RUSTS_NUMBER.search(str(error))
    return OSError(int(found["number"]), str(error)) if found else OSError(str(error))


def reach_disk(path: Path) -> None:
    """Return when the file, or the directory's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
