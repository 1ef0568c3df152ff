"""How a worker process ended, as far as the operating system reports it."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOADER_FAILED = 127

_REQUESTS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
"""The signals by which a person or a service manager asks a process to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a worker process ended.

    Args:
        exit_code: its exit code; the negative number of a signal that ended it.
        last_words: the error that ended it, as it reported it; "": it reported none.
        memory_kills: how many processes the system killed while the worker ran, because memory was exhausted.
        silent_seconds: for how long it had not answered a ping when the server killed it for that; 0: the server did
            not kill it.

    """

    exit_code: int
    last_words: str = ""
    memory_kills: int = 0
    silent_seconds: float = 0.0

    @property
    def from_outside(self) -> bool:
        """Whether a person or a service manager asked the process to end, by a signal."""
        return -self.exit_code in _REQUESTS

    def __str__(self) -> str:
        if self.silent_seconds:
            return f"no sign of life for {self.silent_seconds:g} seconds"
        if self.exit_code == _LOADER_FAILED and not self.last_words:
            return f"exit code {self.exit_code}, of the system's program loader, most often for lack of memory"
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}" + (f", {self.last_words}" if self.last_words else "")
        if self.exit_code == -signal.SIGKILL and self.memory_kills:
            return f"signal {-self.exit_code}, from the system, which had no memory left"
        if self.exit_code == -signal.SIGABRT:
            return f"signal {-self.exit_code}, by which programs end themselves, most often for lack of memory"
        return f"signal {-self.exit_code}"


def memory_kills(root: Path = Path("/")) -> int:
    """How many processes the system has killed since it started, because memory was exhausted; 0 if it does not count.

    Linux counts every such process for the machine (`oom_kill` in /proc/vmstat), and some also for a control group.
    """
    return sum(_counts(root))


def _counts(root: Path) -> Iterator[int]:
    files = [root / "proc/vmstat", root / "sys/fs/cgroup/memory.events"]
    files.append(root / "sys/fs/cgroup/memory/memory.oom_control")
    for file in files:
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            name, _, number = line.partition(" ")
            if name == "oom_kill" and number.strip().isdecimal():
                yield int(number)
