"""`tuningfork serve` as a real process on a free loopback port, which tests may kill and start again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from patience import PATIENCE_SECONDS, wait_until
from ports import free_port

START_SECONDS = 180
STOP_SECONDS = 90


class LiveServer:
    """A server with its data and its log below a directory. It keeps data, key and port when it is started again.

    `variables` are settings. `open_files` is the most files that the process may open; None, as many as this one.
    """

    def __init__(
        self, directory: Path, *options: str, variables: Mapping[str, str] | None = None, open_files: int | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.data_directory = directory / "data"
        self.log = directory / "server.log"
        self._port = free_port()
        self._options = options
        self._process = None
        self._variables = variables or {}
        self._open_files = open_files

    @property
    def process(self) -> psutil.Process:
        """The server's own process, which runs."""
        return psutil.Process(self._process.pid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def key(self) -> str:
        return (self.data_directory / "api-key").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.key}

    @property
    def environment(self) -> dict[str, str]:
        """For commands that run as processes beside the server."""
        return {**os.environ, "TUNINGFORK_URL": self.url, "TUNINGFORK_DATA_DIR": str(self.data_directory)}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=PATIENCE_SECONDS)

    def start(self) -> None:
        """Start, and wait until it can take work."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *self._limited,
                    *(sys.executable, "-m", "tuningfork", "serve", "--port", str(self._port)),
                    *("--data-dir", self.data_directory, *self._options),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                # Tests run side by side: more threads than cores would only wait for one another.
                env={
                    **os.environ,
                    "TUNINGFORK_TRAINER_THREADS": "1",
                    "TUNINGFORK_GENERATOR_THREADS": "1",
                    **self._variables,
                },
            )
        wait_until(self._is_healthy, seconds=START_SECONDS, what=f"the server is healthy (see {self.log})")

    @property
    def _limited(self) -> list[str]:
        """The beginning of a command that may open so many files."""
        return [] if self._open_files is None else ["bash", "-c", f'ulimit -n {self._open_files} && exec "$0" "$@"']

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """End it as an operator would; its exit code. One that was never started is fine."""
        if self._process is None:
            return None
        self._process.send_signal(how)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def workers(self) -> list[psutil.Process]:
        """Its trainer and its generator, as far as they run."""
        return psutil.Process(self._process.pid).children()

    def worker(self, role: str) -> psutil.Process | None:
        """Its trainer or its generator; None if there is none just now."""
        for each in self.workers():
            # One that has just ended has no command any more.
            with suppress(psutil.NoSuchProcess):
                if f"{role}_process" in " ".join(each.cmdline()):
                    return each
        return None

    def kill(self, role: str) -> bool:
        """Kill -9 the server, its trainer or its generator; False if there is none of this role just now."""
        if role == "server":
            self._process.kill()
            self._process.wait()
            return True
        with suppress(psutil.NoSuchProcess):
            if worker := self.worker(role):
                worker.kill()
                return True
        return False

    def _is_healthy(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz", timeout=START_SECONDS).is_success
        except httpx.TransportError:
            return False


@contextmanager
def running(directory: Path, *options: str, variables: Mapping[str, str] | None = None):
    """A server that has started, for as long as the context lasts."""
    server = LiveServer(directory, *options, variables=variables)
    try:
        server.start()
        yield server
    finally:
        server.stop()
