"""The main comparisons in five minutes at most, whatever the machine; writes nothing.

    python bench/quick.py

Each program gets a share of the time, and what those before it have left. A slow machine has fewer rounds, and peers
that take too long are left out. A program that still does not end is ended. Peers take part where they are installed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import report

SECONDS = 290.0
GRACE_SECONDS = 6.0
"""What a program gets beyond its share, to print what it has measured and to end what it has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A program of `bench`, with its options in quick runs and its share of the time, in seconds."""

    command: tuple[str, ...]
    seconds: float


PARTS = (
    Part(command=("beside_llama_cpp.py", "--quick"), seconds=70),
    Part(command=("decode.py", "--quick", "--only", "transformers"), seconds=55),
    Part(command=("training_step.py", "--quick"), seconds=65),
    Part(command=("many_jobs.py", "--quick"), seconds=55),
    Part(command=("tutorial_job.py", "--quick"), seconds=45),
)


def run(parts: Sequence[Part], *, seconds: float = SECONDS, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Run the parts one after the other within so many seconds; returns what did not end in its time."""
    ends = time.monotonic() + seconds
    cut_off = []
    for index, part in enumerate(parts):
        later = sum(each.seconds for each in parts[index + 1 :])
        share = max(1.0, ends - time.monotonic() - later - grace_seconds)
        if not _ended(part, share, grace_seconds):
            cut_off.append(part.command[0])
    return cut_off


def _ended(part: Part, share: float, grace_seconds: float) -> bool:
    """Run the program; whether it ended by itself."""
    program, *options = part.command
    command = [sys.executable, report.HERE / program, *options, "--seconds", f"{share:.0f}"]
    # A group of its own, so that all that it has started can be ended with it.
    started = subprocess.Popen(command, start_new_session=True)
    try:
        started.wait(share + grace_seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    return True


def main() -> None:
    for program in run(PARTS):
        print(f"\n{program} had not ended when its time was up; `python bench/{program}` takes the time it needs.")


if __name__ == "__main__":
    main()
