"""Metrics of the processes of a server: their memory, and what they were built from."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningfork import __version__

_PROCESSES = Path("/proc")


class ProcessMetrics(Collector):
    """Tells at every scrape the resident memory of the server and its workers, and the versions of the build.

    Args:
        workers: the process ids of the workers that run, by role.
        registry: shows the metrics.

    """

    def __init__(self, workers: Callable[[], Mapping[str, int]], registry: CollectorRegistry) -> None:
        self._workers = workers
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics."""
        memory = GaugeMetricFamily(
            "tuningfork_resident_memory_bytes",
            "Resident memory of a process; pages of a base that processes share count in each.",
            labels=("role",),
        )
        for role, pid in {"server": os.getpid(), **self._workers()}.items():
            if (size := resident_bytes(pid)) is not None:
                memory.add_metric((role,), size)
        yield memory
        said, labels = "1, with the versions of Tuningfork, Python and torch.", ("version", "python", "torch")
        build = GaugeMetricFamily("tuningfork_build", said, labels=labels)
        build.add_metric((__version__, platform.python_version(), _torch()), 1)
        yield build


def resident_bytes(pid: int) -> int | None:
    """The resident memory of a process; None if it has ended, or the system does not tell."""
    try:
        pages = (_PROCESSES / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _torch() -> str:
    """The version of torch, which this process does not import; "" if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
