"""Runs `tuningfork serve` as a child process on a free loopback port, with a new data directory."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.client import Client, ClientError
from tuningfork.settings import Settings

START_SECONDS = 60.0
STOP_SECONDS = 20.0
DIRECTORY = ".tutorial"
"""The directory of a tutorial that was told no other."""

MARK = "made-by-tutorial"
"""An empty file in the data directory; only a data directory that has it is ever removed."""

_URL_LINE = re.compile(r"^  URL +(http://\S+)\n", re.MULTILINE)
"""The line of its welcome in which the server says where it listens."""

_LOOK_EVERY_SECONDS = 0.05
_LOG_TAIL_LINES = 15


@dataclass(slots=True)
class ChildServer:
    """A running server. `directory` belongs to the caller; the server's data are in `data` below it.

    `url` is "" until the server listens.
    """

    url: str
    directory: Path
    process: subprocess.Popen[bytes]
    kept: bool = field(default=False, init=False)

    @property
    def settings(self) -> Settings:
        """The server's settings; only those that name paths are right."""
        # Like the server itself, they take over neither variables nor a file that are for another server.
        return Settings.model_construct(data_dir=data_directory(self.directory))

    @property
    def log(self) -> Path:
        """The file to which the server writes its log."""
        return log_file(self.directory)

    def keep(self) -> None:
        """Do not stop the server at the end of the `with` block."""
        self.kept = True

    def connect(self) -> Client:
        """A client with the key that the server's first start stored; the caller must close the client."""
        return Client(self.url, self.settings.key_file.read_text(encoding="utf-8").strip())


def data_directory(directory: Path) -> Path:
    """The data directory of the server in `directory`."""
    return directory / "data"


def log_file(directory: Path) -> Path:
    """The log file of the server in `directory`."""
    return directory / "server.log"


@contextmanager
def serving(directory: Path) -> Iterator[ChildServer]:
    """Start a server and wait until it can work; stop it at the end of the `with` block, unless `keep` was called.

    The data of an earlier server in `directory` are removed first.

    Raises:
        ClientError: an earlier server still runs there, or the new one does not start; the message has its log.

    """
    directory = directory.absolute()
    clear(directory)
    with log_file(directory).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command with our own arguments
            # The server takes a free port itself: one that was looked for before might be taken by then.
            [sys.executable, "-P", "-m", "tuningfork", "serve", "--port", "0", "--data-dir", data_directory(directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            # In its own session, the server does not get the terminal's interrupt; this process stops it.
            start_new_session=True,
        )
    server = ChildServer("", directory, process)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        if not server.kept:
            stop(process)


def stop(process: subprocess.Popen[bytes], patience_seconds: float = STOP_SECONDS) -> None:
    """Stop a server: terminate it, and kill it if it has not ended in time. It may have ended already."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clear(directory: Path) -> None:
    """Make the directory, without the data of an earlier tutorial.

    Raises:
        ClientError: that tutorial's server still runs, the data are not a tutorial's, or the directory cannot be
            written.

    """
    data = data_directory(directory)
    try:
        _refuse_others_data(data, directory)
        shutil.rmtree(data, ignore_errors=not data.exists())
        directory.mkdir(parents=True, exist_ok=True)
        data.mkdir(mode=0o700)
        (data / MARK).touch()
    except OSError as error:
        raise ClientError(
            f"{directory} cannot be made ready: {error}.", advice="Name another directory with --directory."
        ) from error


def _refuse_others_data(data: Path, directory: Path) -> None:
    if data.is_dir() and any(data.iterdir()) and not _is_a_tutorials(directory):
        raise ClientError(
            f"{data} was not made by a tutorial, so it is not removed.",
            advice="Name another directory with --directory, or remove it yourself.",
        )
    lock_path = data / "server.lock"
    if lock_path.exists():
        with lock_path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ClientError(
                    f"A server of an earlier run still uses {data}.",
                    advice="Stop it first: the run that kept it printed how.",
                ) from error


def _is_a_tutorials(directory: Path) -> bool:
    # Tutorials of earlier versions left no mark; nobody else uses the name of the default directory.
    return (data_directory(directory) / MARK).exists() or directory.absolute().name == DIRECTORY


def _environment() -> dict[str, str]:
    """This process's environment variables, without settings for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TUNINGFORK_")}


def _wait_until_healthy(server: ChildServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    _wait_until(lambda: _tells_url(server), server, deadline)
    with Client(server.url, None) as client:
        _wait_until(client.is_healthy, server, deadline)


def _wait_until(condition: Callable[[], bool], server: ChildServer, deadline: float) -> None:
    while not condition():
        if server.process.poll() is not None:
            raise ClientError(f"The server ended while it was starting. {_tail(server.log)}")
        if time.monotonic() > deadline:
            raise ClientError(f"The server was not ready after {START_SECONDS:.0f} seconds. {_tail(server.log)}")
        time.sleep(_LOOK_EVERY_SECONDS)


def _tells_url(server: ChildServer) -> bool:
    """Whether the server has said where it listens, which is then its URL."""
    line = _URL_LINE.search(server.log.read_text(encoding="utf-8", errors="replace"))
    if line is not None:
        server.url = line[1]
    return line is not None


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join([f"The end of its log, {log}:", *(f"  {line}" for line in lines)])
