"""`tuningfork tutorial` as a process: what `make tutorial` runs."""

import os
import re
import resource
import signal
import subprocess
import sys

import httpx
import pytest

from patience import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "tuningfork", "tutorial"]


def begun(directory, **variables):
    return subprocess.Popen(
        COMMAND,
        cwd=directory,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def url_in(text):
    return re.search(r"http://127\.0\.0\.1:\d+", text)[0]


def answers(url):
    try:
        return httpx.get(f"{url}/healthz", timeout=PATIENCE_SECONDS).is_success
    except httpx.TransportError:
        return False


def test_the_whole_story_is_told_and_nothing_is_left_running(tmp_path):
    # What an earlier run left, broken at that.
    (tmp_path / ".tutorial" / "data").mkdir(parents=True)
    (tmp_path / ".tutorial" / "data" / "tuningfork.db").write_text("not a database")
    (tmp_path / ".tutorial" / "loss.png").write_text("not an image")

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output, errors = (process := begun(tmp_path)).communicate(timeout=PATIENCE_SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert (process.returncode, errors) == (0, "")
    # Processor time, its server's with it: other processes may run meanwhile.
    assert seconds < 60
    assert re.search(r"step 19/19 · epoch 5 · mean loss \d\.\d{3}", output)
    # Arithmetic differs in its last bits between machines; how often the answers are right is measured elsewhere.
    base, tuned = re.search(r"the base model (\d+) of 15, the tuned model (\d+)\.", output).groups()
    assert int(base) <= 3
    assert int(tuned) >= 12
    assert "None of these prompts is among the examples" in output
    assert (tmp_path / ".tutorial" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not answers(url_in(output))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_story_that_is_broken_off_leaves_no_server_behind(tmp_path, number):
    process = begun(tmp_path)
    seen = ""
    while "Watch the loss" not in seen:
        line = process.stdout.readline()
        assert line, f"it ended early: {seen}"
        seen += line

    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert "the tutorial's server has been stopped" in errors
    assert "Traceback" not in errors
    assert not answers(url_in(seen))


def test_a_kept_server_runs_on_and_says_how_to_call_and_to_stop_it(tmp_path):
    process = begun(tmp_path, KEEP="1")
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    url = url_in(output)
    pid = int(re.search(r"kill (\d+)", output)[1])
    try:
        assert answers(url)
        assert output.count("\ncurl ") == 3
        assert str(tmp_path / ".tutorial" / "data" / "api-key") in output

        second = begun(tmp_path)
        _, errors = second.communicate(timeout=PATIENCE_SECONDS)
        assert second.returncode == 1
        assert "A server of an earlier run still uses" in errors
        assert answers(url)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not answers(url), what="the server has ended")
