"""Runs a command beside a PostgreSQL server of its own: `python throwaway_postgresql.py COMMAND...`.

The server is empty, listens on a Unix socket in a temporary directory, and is gone afterwards. The command finds its
URL in `TUNINGFORK_TEST_POSTGRESQL_URL`. `initdb` and `postgres` have to be installed (Debian: package `postgresql`).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTS_WITHIN_SECONDS = 60.0
_DEBIAN = "/usr/lib/postgresql/*/bin"


@contextmanager
def running() -> Iterator[str]:
    """The SQLAlchemy URL of a server that runs inside the block."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        directory = Path(folder)
        someone = _unprivileged(directory)
        data = directory / "data"
        made = [
            _program("initdb"),
            "--pgdata",
            str(data),
            "--auth",
            "trust",
            "--username",
            "tests",
            "--encoding",
            "UTF8",
        ]
        subprocess.run([*made, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **someone)
        # Nothing has to outlive a power cut: without fsync the tests take half the time.
        options = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": "200"}
        told = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (directory / "log").open("wb") as log:
            command = [_program("postgres"), "-D", str(data), *told]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **someone)
        try:
            _wait_for(process, directory)
            yield f"postgresql+psycopg://tests@/postgres?host={folder}"
        finally:
            # Its fast shutdown: it waits for nobody who is still connected (PostgreSQL manual, section 18.5).
            process.send_signal(signal.SIGINT)
            process.wait(STARTS_WITHIN_SECONDS)


def _wait_for(process: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    ready = [_program("pg_isready"), "--quiet", "--host", str(directory)]
    while subprocess.run(ready, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{(directory / 'log').read_text()}")
        time.sleep(0.1)


def _unprivileged(directory: Path) -> dict[str, Any]:
    """As whom the server runs: PostgreSQL refuses root, so root hands the directory to the user of the package."""
    if os.geteuid():
        return {}
    shutil.chown(directory, "postgres", "postgres")
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _program(name: str) -> str:
    newest_first = sorted(Path("/").glob(_DEBIAN.lstrip("/")), key=lambda path: -float(path.parent.name))
    found = shutil.which(name) or next((str(path / name) for path in newest_first if (path / name).exists()), None)
    if found is None:
        raise SystemExit(f"{name} is not installed; on Debian: apt-get install postgresql")
    return found


def main(command: Sequence[str]) -> int:
    """Run the command beside a server, and end with its exit status."""
    with running() as url:
        environment = {**os.environ, "TUNINGFORK_TEST_POSTGRESQL_URL": url}
        return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
