"""Lets one process at a time make a file or directory that several need."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def alone(into: Path) -> Iterator[None]:
    """Hold the lock of what is to be made, beside it; the system lets go of it if this process ends."""
    with (into.parent / f".{into.name}.lock").open("a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process makes %s; waiting for it", into, extra={"action": "waiting_for_files"})
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
