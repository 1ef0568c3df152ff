"""`tuningfork serve` as a real process on a free loopback port."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class LiveServer:
    """`url` and `key` are all that a client needs; the rest is for tests that look behind."""

    url: str
    key: str
    data_directory: Path
    process: subprocess.Popen
    log: Path

    @property
    def headers(self):
        return {"x-goog-api-key": self.key}

    @property
    def environment(self):
        """For commands that run as processes beside the server."""
        return {**os.environ, "TUNINGFORK_URL": self.url, "TUNINGFORK_DATA_DIR": str(self.data_directory)}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(directory, *options):
    """A server with its data below `directory`; ended, by its id, when the context ends."""
    data_directory, log = directory / "data", directory / "server.log"
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "tuningfork", "serve", "--port", str(port), "--data-dir", data_directory, *options]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(url, process, log)
        key = (data_directory / "api-key").read_text().strip()
        yield LiveServer(url, key, data_directory, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_healthy(url, process, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/healthz").is_success:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"not healthy after {START_SECONDS} s:\n{log.read_text()}")
