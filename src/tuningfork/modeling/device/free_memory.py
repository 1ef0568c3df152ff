"""Gives memory that this process has freed back to the system, which the C library does by itself only in part."""

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Return free memory to the system, where the C library is glibc; elsewhere do nothing. Takes milliseconds.

    glibc keeps what lies between blocks that are in use, such as the room of a pass that has ended.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    if sys.platform != "linux":
        return None
    # The functions that this process is linked with.
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
