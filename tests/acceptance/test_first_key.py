"""The first start writes its key to a file, and shows it on a terminal only."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from live_server import LiveServer, free_port
from patience import PATIENCE_SECONDS

pytestmark = pytest.mark.acceptance


def shown_on_a_terminal(data_directory):
    """What a first start shows until its three commands."""
    ours, theirs = pty.openpty()
    command = [*(sys.executable, "-m", "tuningfork", "serve"), "--port", str(free_port())]
    with subprocess.Popen(
        [*command, "--data-dir", str(data_directory)], stdout=theirs, stderr=subprocess.DEVNULL
    ) as server:
        os.close(theirs)
        shown = b""
        try:
            while b"Call it" not in shown:
                shown += os.read(ours, 65_536)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE_SECONDS)
            os.close(ours)
    # What was read last may end within a character.
    return shown.decode(errors="ignore")


def test_a_terminal_shows_the_key(tmp_path):
    text = shown_on_a_terminal(tmp_path / "data")

    key = (tmp_path / "data" / "api-key").read_text().strip()
    assert f"API key         {key}" in text
    assert "shown only now" in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_file_gets_only_the_place_of_the_key(tmp_path, form):
    server = LiveServer(tmp_path, "--log-format", form)
    try:
        server.start()
    finally:
        server.stop()

    shown = server.log.read_text()
    assert server.key not in shown
    assert str(server.data_directory / "api-key") in shown
    assert (server.data_directory / "api-key").stat().st_mode & 0o777 == 0o600
