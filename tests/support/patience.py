"""Waiting for what other threads and processes do, however slow and busy the machine is."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 180.0
"""How long a test waits for what takes a moment on a quiet machine. Only a test that fails waits so long."""

RUN_SECONDS = 3 * PATIENCE_SECONDS
"""The same for a run of some thousand steps, which takes several seconds there."""


def wait_until(
    condition: Callable[[], Any], *, what: str = "", seconds: float = PATIENCE_SECONDS, every: float = 0.05
) -> Any:
    """Look every so many seconds whether the condition holds; its value then, which is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or 'what the test waits for'}"
        time.sleep(every)
    return value


def paths_below(directory: Path) -> list[Path]:
    """All files and folders below the directory, in order, also while others add and remove some.

    `Path.rglob` raises FileNotFoundError where a folder goes away meanwhile.
    """
    found = os.walk(directory)
    return sorted(Path(folder, name) for folder, folders, names in found for name in (*folders, *names))
