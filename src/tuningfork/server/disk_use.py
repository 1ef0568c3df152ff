"""What a server keeps on its disk, by kind: measured now and then, for metrics and for whoever runs the server."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningfork.artifacts.local import ELSEWHERE
from tuningfork.domain.operations import DiskUse

MEASURED_EVERY_SECONDS = 60.0
"""Looking at every file of ten thousand models takes about a second."""

_KINDS: Mapping[str, str] = {
    "adapters": "adapters",
    "checkpoints": "adapters",
    "datasets": "datasets",
    "staged": "staged_datasets",
    "work": "unfinished_jobs",
    "imports": "unfinished_jobs",
    "bases": "base_models",
    "buckets": "buckets",
    ELSEWHERE: "elsewhere",
}
"""The kind of what is in a folder of the data directory; all else is `other`."""


class DiskUses(Collector):
    """Measures the data directory, at most once a minute. Thread-safe.

    Args:
        directory: the data directory.
        database_bytes: the size of the database; None: it is not known.
        registry: shows the sizes as metrics.
        monotonic: a clock in seconds.

    """

    def __init__(
        self,
        directory: Path,
        database_bytes: Callable[[], int | None],
        registry: CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._database_bytes = database_bytes
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._measured: tuple[float, DiskUse] | None = None
        registry.register(self)

    def now(self) -> DiskUse:
        """The sizes as they were a minute ago at most."""
        with self._lock:
            now = self._monotonic()
            if self._measured is None or now - self._measured[0] >= MEASURED_EVERY_SECONDS:
                self._measured = (now, self._measure())
            return self._measured[1]

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registering measures nothing."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics."""
        found = self.now()
        kept = GaugeMetricFamily(
            "tuningfork_disk_bytes", "What is kept on the disk, by kind; measured once a minute.", labels=("kind",)
        )
        for kind, size in found.kinds.items():
            kept.add_metric((kind,), size)
        yield kept
        if found.free_bytes is not None:
            yield GaugeMetricFamily(
                "tuningfork_disk_free_bytes", "Free space where the data directory is.", found.free_bytes
            )

    def _measure(self) -> DiskUse:
        sizes = dict.fromkeys(sorted({*_KINDS.values(), "other"}), 0)
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    sizes[_KINDS.get(entry.name, "other")] += size_below(
                        Path(entry.path), into_links=entry.name == ELSEWHERE
                    )
        database = self._database_bytes()
        if database is not None:
            sizes["database"] = database
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError:
            free = None
        return DiskUse(kinds=dict(sorted(sizes.items())), free_bytes=free)


def size_below(directory: Path, *, into_links: bool = False) -> int:
    """The bytes of all files below a directory. Files that go away meanwhile do not count.

    `into_links`: entries of the directory itself that are links to directories are followed.
    """
    total, waiting = 0, [(directory, into_links)]
    while waiting:
        folder, follows = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=follows):
                        waiting.append((Path(entry.path), False))
                    else:
                        total += _size(entry)
        except OSError:
            continue
    return total


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
