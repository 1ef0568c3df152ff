"""Holds the generator of `toy_workers/held_generator.py` between two steps, so that what a test does is in time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_VARIABLE = "HOLD_FILE"
_TESTS = Path(__file__).parents[1]
MODULE = "held_generator"


class Hold:
    """While its file exists, the generator takes one step for each command that it is sent, and waits in between.

    Once it has dropped a candidate, it is not held any more.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def variables(self) -> dict[str, str]:
        """What the generator's environment needs."""
        paths = [str(_TESTS / "toy_workers"), str(_TESTS / "support"), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(paths), FILE_VARIABLE: str(self._file)}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the generator inside the block."""
        self._file.touch()
        try:
            yield
        finally:
            self._file.unlink(missing_ok=True)
