"""What metrics tell of a server's processes."""

import os
import subprocess
import sys

from prometheus_client import CollectorRegistry

from tuningfork import __version__
from tuningfork.server.process_metrics import ProcessMetrics, resident_bytes


def test_the_memory_of_every_process_that_runs_is_told():
    registry = CollectorRegistry()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ProcessMetrics(lambda: {"trainer": os.getpid(), "generator": ended.pid}, registry)

    for role in ("server", "trainer"):
        assert registry.get_sample_value("tuningfork_resident_memory_bytes", {"role": role}) > 2**20
    assert registry.get_sample_value("tuningfork_resident_memory_bytes", {"role": "generator"}) is None


def test_memory_is_that_of_the_system():
    import psutil  # noqa: PLC0415

    assert abs(resident_bytes(os.getpid()) - psutil.Process().memory_info().rss) < 2**27


def test_the_build_is_told():
    registry = CollectorRegistry()
    ProcessMetrics(dict, registry)

    [family] = [family for family in registry.collect() if family.name == "tuningfork_build"]
    [sample] = family.samples
    assert sample.value == 1
    assert sample.labels["version"] == __version__
    assert sample.labels["python"] == ".".join(map(str, sys.version_info[:3]))
    assert sample.labels["torch"].startswith("2.")
