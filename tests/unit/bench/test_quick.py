import os
import time
from pathlib import Path

import pytest

import quick
import report

_SLEEPS = "import time; time.sleep(600)"
_ENDS = "import pathlib, sys; pathlib.Path(__file__).with_suffix('.out').write_text(sys.argv[2])"
_STARTS_A_SLEEPER = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(__file__).with_suffix(".pid").write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "HERE", tmp_path)
    for name, text in {"sleeps": _SLEEPS, "ends": _ENDS, "starts": _STARTS_A_SLEEPER}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def part(program, seconds):
    return quick.Part(command=(program,), seconds=seconds)


def test_a_program_that_does_not_end_is_ended_and_the_next_one_runs(programs):
    cut_off = quick.run([part("sleeps.py", 2), part("ends.py", 100)], seconds=102, grace_seconds=0)

    assert cut_off == ["sleeps.py"]
    assert (programs / "ends.out").is_file()


@pytest.mark.slow
def test_what_a_program_has_started_ends_with_it(programs):
    quick.run([part("starts.py", 20)], seconds=20, grace_seconds=0)

    pid = int((programs / "starts.pid").read_text())
    deadline = time.monotonic() + 60
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def test_a_program_gets_the_time_that_earlier_ones_have_left(programs):
    quick.run([part("ends.py", 500), part("ends.py", 500)], seconds=1_000, grace_seconds=6)

    # Its own 500 seconds, and what the first one, which ends at once, has not used of its own.
    assert 500 < float((programs / "ends.out").read_text()) <= 994


def test_all_parts_together_take_less_than_five_minutes():
    assert sum(each.seconds for each in quick.PARTS) <= quick.SECONDS
    assert quick.SECONDS + quick.GRACE_SECONDS < 300


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A process that has ended and has not been waited for is no process at work.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
