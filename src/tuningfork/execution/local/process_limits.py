"""Limits of memory and time that a process sets itself, before it reads files that may do anything to both (Linux)."""

import math
import os
import resource
import time
from contextlib import suppress
from pathlib import Path


def limit_memory(further_bytes: int) -> None:
    """Let the process take so many bytes more than it has; and if the machine has none left, be the first to end."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + further_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(further_seconds: int) -> None:
    """Let the process compute for so many seconds more; then the system ends it with SIGXCPU."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(time.process_time()) + further_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
