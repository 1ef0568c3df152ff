"""A server of one's own: `tuningfork serve` as a child process on a free loopback port, with a fresh data directory."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.client import Client, ClientError
from tuningfork.settings import Settings

START_SECONDS = 60.0
STOP_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 0.05
_LOG_TAIL_LINES = 15


@dataclass(slots=True)
class ChildServer:
    """A running server. `directory` is the caller's; the server's data are in `data` below it."""

    url: str
    directory: Path
    process: subprocess.Popen[bytes]
    kept: bool = field(default=False, init=False)

    @property
    def settings(self) -> Settings:
        """The server's settings, as far as they say where things are."""
        return Settings(data_dir=data_directory(self.directory))

    @property
    def log(self) -> Path:
        """What the server writes."""
        return log_file(self.directory)

    def keep(self) -> None:
        """Let the server run on after the end."""
        self.kept = True

    def connect(self) -> Client:
        """A client with the key that the first start left; the caller closes it."""
        return Client(self.url, self.settings.key_file.read_text(encoding="utf-8").strip())


def data_directory(directory: Path) -> Path:
    """Where the server of `directory` has its data."""
    return directory / "data"


def log_file(directory: Path) -> Path:
    """Where the server of `directory` writes its log."""
    return directory / "server.log"


@contextmanager
def serving(directory: Path) -> Iterator[ChildServer]:
    """Start a server and wait until it can take work; it is stopped at the end, unless it was kept.

    What an earlier server left in `directory` is removed first.

    Raises:
        ClientError: an earlier server still runs there, or the new one does not start; says what its log says.

    """
    directory = directory.absolute()
    clear(directory)
    port = _free_port()
    with log_file(directory).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command with our own arguments
            [sys.executable, "-m", "tuningfork", "serve", "--port", str(port), "--data-dir", data_directory(directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            # An interrupt at the terminal is for us; we end the server in our own time.
            start_new_session=True,
        )
    server = ChildServer(f"http://127.0.0.1:{port}", directory, process)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        if not server.kept:
            stop(process)


def stop(process: subprocess.Popen[bytes], patience_seconds: float = STOP_SECONDS) -> None:
    """End a server of ours: politely, then without asking. One that is gone already is fine."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clear(directory: Path) -> None:
    """Make the directory, without the data of an earlier server.

    Raises:
        ClientError: that server still runs, or the directory cannot be written.

    """
    data = data_directory(directory)
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
    try:
        shutil.rmtree(data, ignore_errors=not data.exists())
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClientError(f"{directory} cannot be made ready: {error}.") from error


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    """Ours, without settings that were meant for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TUNINGFORK_")}


def _wait_until_healthy(server: ChildServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    with Client(server.url, None) as client:
        while not client.is_healthy():
            if server.process.poll() is not None:
                raise ClientError(f"The server ended while it was starting. {_tail(server.log)}")
            if time.monotonic() > deadline:
                raise ClientError(f"The server was not ready after {START_SECONDS:.0f} seconds. {_tail(server.log)}")
            time.sleep(_LOOK_EVERY_SECONDS)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join([f"The end of its log, {log}:", *(f"  {line}" for line in lines)])
