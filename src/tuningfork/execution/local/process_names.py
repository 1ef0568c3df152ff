"""The names of processes in the system's lists (`ps -o comm`), by which the server's metrics know their roles."""

from contextlib import suppress
from pathlib import Path

FORK_SERVER = "fork-server"
RENDERER = "renderer"
PREPARER = "preparer"
FILE_READER = "file-reader"


def name_this_process(name: str) -> None:
    """Give this process a name of at most 15 bytes, where the system has such names (Linux)."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")
