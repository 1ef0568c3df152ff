"""The README's shell commands, as they are printed, on a new machine's home directory."""

import re
import subprocess
from pathlib import Path

import pytest

import live_server
from patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
DEFAULT_URL = "http://127.0.0.1:8000"


def test_the_curl_commands_create_wait_and_call(tmp_path):
    (script,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    (tmp_path / ".local/share/tuningfork").mkdir(parents=True)
    assert script.count(DEFAULT_URL) == 1
    with live_server.running(tmp_path) as server:
        (tmp_path / ".local/share/tuningfork/api-key").write_text(server.key)
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(DEFAULT_URL, server.url)],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    assert ended.returncode == 0, ended.stderr
    assert '"totalSteps": 19' in ended.stdout
    assert '"state": "ACTIVE"' in ended.stdout
    assert re.search(r'"text": "[IVXLCDM]+"', ended.stdout)
