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
from tuningfork.execution.local.process_names import FILE_READER, FORK_SERVER, PREPARER, RENDERER
from tuningfork.modeling.compiled.library import library

_PROCESSES = Path("/proc")
_ROLES = {FORK_SERVER: "fork_server", RENDERER: "renderer"}
"""The roles of processes that workers start, by their names in the system."""
_KIB = 2**10


class ProcessMetrics(Collector):
    """Tells at every scrape the memory of the server's processes by role, and the versions of the build.

    Workers start processes too: fork servers, renderers, and now and then another one (`other`). Those of one role are
    added up.

    Args:
        workers: the process ids of the workers that run, by role.
        registry: shows the metrics.

    """

    def __init__(self, workers: Callable[[], Mapping[str, int]], registry: CollectorRegistry) -> None:
        self._workers = workers
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics."""
        by_role = pids_by_role(self._workers())
        yield _by_role(
            "tuningfork_resident_memory_bytes",
            "Resident memory of a role's processes; pages that processes share count in each.",
            {role: [*map(resident_bytes, pids)] for role, pids in by_role.items()},
        )
        yield _by_role(
            "tuningfork_private_memory_bytes",
            "Memory of a role's processes that no other process shares: what their ends would free.",
            {role: [*map(private_bytes, pids)] for role, pids in by_role.items()},
        )
        said = "1, with the versions of Tuningfork, Python and torch, and the instructions that compiled parts use."
        build = GaugeMetricFamily("tuningfork_build", said, labels=("version", "python", "torch", "compiled"))
        build.add_metric((__version__, platform.python_version(), _torch(), _compiled()), 1)
        yield build


def pids_by_role(workers: Mapping[str, int]) -> Mapping[str, list[int]]:
    """The ids of this server's processes by role; `workers` are those of its workers."""
    by_role: dict[str, list[int]] = {}
    for role, pid in _processes(workers):
        by_role.setdefault(role, []).append(pid)
    return by_role


def memory_by_role(workers: Mapping[str, int]) -> Mapping[str, int]:
    """The resident memory of this server's processes in bytes, by role; roles of which nothing is known are left out.

    `workers` are the process ids of its workers, by role.
    """
    sizes = {role: [*map(resident_bytes, pids)] for role, pids in pids_by_role(workers).items()}
    return {role: sum(size or 0 for size in each) for role, each in sizes.items() if any(each)}


def _processes(workers: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The role and the process id of each process."""
    yield "server", os.getpid()
    # One for each job whose data is being read, and for each uploaded file: they come and go.
    come_and_go = {PREPARER: "preparer", FILE_READER: "file-reader"}
    yield from ((come_and_go[name], pid) for pid in _started_by(os.getpid()) if (name := _name(pid)) in come_and_go)
    for role, worker in workers.items():
        yield role, worker
        for started in _started_by(worker):
            for pid in (started, *_started_by(started)):
                yield _ROLES.get(_name(pid), "other"), pid


def resident_bytes(pid: int) -> int | None:
    """The resident memory of a process; None if it has ended, or the system does not tell."""
    try:
        return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None


def private_bytes(pid: int) -> int | None:
    """The memory of a process that no other shares; None if it has ended, or the system does not tell."""
    try:
        lines = _read(pid, "smaps_rollup").splitlines()
        sizes = [int(line.split()[1]) for line in lines if line.startswith("Private_")]
    except (OSError, IndexError):
        return None
    return sum(sizes) * _KIB if sizes else None


def _by_role(name: str, said: str, sizes: Mapping[str, list[int | None]]) -> GaugeMetricFamily:
    """The sums of what is known; a role of which nothing is known is left out."""
    family = GaugeMetricFamily(name, said, labels=("role",))
    for role, each in sizes.items():
        if known := [size for size in each if size is not None]:
            family.add_metric((role,), sum(known))
    return family


def _started_by(pid: int) -> list[int]:
    """The processes that the threads of this one have started and that have not been waited for."""
    try:
        lists = [path.read_text(encoding="ascii") for path in (_PROCESSES / str(pid) / "task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for each in lists for child in each.split()]


def _name(pid: int) -> str:
    try:
        return _read(pid, "comm").rstrip("\n")
    except OSError:
        return ""


def _read(pid: int, file: str) -> str:
    return (_PROCESSES / str(pid) / file).read_text(encoding="ascii", errors="replace")


def _torch() -> str:
    """The version of torch, which this process does not import; "" if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def _compiled() -> str:
    """The instructions of the compiled parts that are installed, such as `avx2`; "" without any."""
    found = library()
    return "" if found is None else found.level.name.lower()
