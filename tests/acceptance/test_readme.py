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
    script, _ = scripts()
    ended = run(script, tmp_path)

    assert '"totalSteps": 19' in ended.stdout
    assert '"state": "ACTIVE"' in ended.stdout
    assert re.search(r'"text": "[IVXLCDM]+"', ended.stdout)


def test_the_curl_commands_for_vertex_ai_upload_create_wait_and_call(tmp_path):
    first, script = scripts()
    named = first.partition("\n\n")[0]
    ended = run(f"{named}\n{script}", tmp_path)

    assert '"name": "numbers.jsonl"' in ended.stdout
    assert '"state": "JOB_STATE_SUCCEEDED"' in ended.stdout
    assert re.search(r'"text": "[IVXLCDM]+"', ended.stdout)


def scripts():
    return re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def run(script, home):
    """Run the script over a server of its own, in an empty home directory."""
    (home / ".local/share/tuningfork").mkdir(parents=True)
    assert script.count(DEFAULT_URL) == 1
    with live_server.running(home) as server:
        (home / ".local/share/tuningfork/api-key").write_text(server.key)
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(DEFAULT_URL, server.url)],
            cwd=home,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    return ended
