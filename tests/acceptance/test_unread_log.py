"""Nobody reads the log: the server goes on answering, and no line is lost before very many wait."""

import os

import httpx
import pytest

from live_server import LiveServer
from patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

REQUESTS = 400


@pytest.fixture(name="log")
def _log(tmp_path):
    """The reader's side of the pipe that the server logs to; nobody has read from it yet."""
    path = tmp_path / "server" / "server.log"
    path.parent.mkdir()
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    yield reader
    os.close(reader)


def read_until(reader, text):
    data = b""
    while data.count(text.encode()) < REQUESTS:
        data += os.read(reader, 65_536)
    return data.decode().splitlines()


def test_a_server_whose_log_nobody_reads_answers_and_loses_no_line(log, tmp_path):
    server = LiveServer(tmp_path / "server")
    try:
        server.start()
        with httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as client:
            # Each line has some 300 characters; the pipe takes 64 KiB.
            for number in range(REQUESTS):
                assert client.get(f"/unknown/{number}/{'x' * 180}").status_code == 404
            assert client.get("/healthz").status_code == 200
        lines = read_until(log, "GET /unknown/")
        asked = [line.split("/unknown/")[1].split("/")[0] for line in lines if "/unknown/" in line]
        assert asked == [str(number) for number in range(REQUESTS)]
    finally:
        server.stop()
