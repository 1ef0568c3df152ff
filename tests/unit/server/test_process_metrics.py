"""What metrics tell of a server's processes."""

import os
import subprocess
import sys

import psutil
import pytest
from prometheus_client import CollectorRegistry

from patience import PATIENCE_SECONDS, wait_until
from tuningfork import __version__
from tuningfork.modeling.compiled.library import library
from tuningfork.server.process_metrics import ProcessMetrics, private_bytes, resident_bytes

METRICS = ("tuningfork_resident_memory_bytes", "tuningfork_private_memory_bytes")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

WORKER = """
import sys
from tuningfork.execution.local.forking import ForkServer
from tuningfork.execution.local.renderer_process import serve
forks = ForkServer(serve)
renderers = [forks.start(), forks.start()]
print("started", flush=True)
sys.stdin.read()
"""
"""A worker with two renderers, which wait for their bases."""


@ON_LINUX
@pytest.mark.parametrize("metric", METRICS)
def test_the_memory_of_every_process_that_runs_is_told(metric):
    registry = CollectorRegistry()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ProcessMetrics(lambda: {"trainer": os.getpid(), "generator": ended.pid}, registry)

    for role in ("server", "trainer"):
        assert registry.get_sample_value(metric, {"role": role}) > 2**20
    assert registry.get_sample_value(metric, {"role": "generator"}) is None


PREPARER = """
import sys
from tuningfork.execution.local.process_names import PREPARER, name_this_process
name_this_process(PREPARER)
print("named", flush=True)
sys.stdin.read()
"""


@ON_LINUX
def test_preparers_are_told_while_they_run():
    registry = CollectorRegistry()
    ProcessMetrics(dict, registry)
    with subprocess.Popen([sys.executable, "-c", PREPARER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as preparer:
        assert preparer.stdout.readline() == b"named\n"
        assert registry.get_sample_value(METRICS[0], {"role": "preparer"}) > 2**20

    assert registry.get_sample_value(METRICS[0], {"role": "preparer"}) is None


@ON_LINUX
def test_processes_that_a_worker_has_started_are_told_by_their_roles():
    registry = CollectorRegistry()
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ProcessMetrics(lambda: {"generator": worker.pid}, registry)

    def told(role):
        return [registry.get_sample_value(metric, {"role": role}) for metric in METRICS]

    try:
        assert worker.stdout.readline() == "started\n"
        # Between its start and its first line of code a process has its parent's name.
        wait_until(lambda: told("renderer") != [None, None] and psutil.Process(worker.pid).children(recursive=True))
        [fork_server, *_] = psutil.Process(worker.pid).children()
        wait_until(lambda: {each.name() for each in fork_server.children()} == {"renderer"})
        resident = [each.memory_info().rss for each in fork_server.children()]
        renderers, forks = told("renderer"), told("fork_server")
    finally:
        worker.communicate("", timeout=PATIENCE_SECONDS)

    assert len(resident) == 2
    # Two copies of one process that have done nothing: nearly all of their memory is shared.
    assert abs(renderers[0] - sum(resident)) < 2**24
    assert 0 < renderers[1] < renderers[0] / 2
    assert 0 < forks[1] < forks[0] < renderers[0]
    assert told("renderer") == [None, None]


@ON_LINUX
def test_memory_is_that_of_the_system():
    memory = psutil.Process().memory_full_info()

    assert abs(resident_bytes(os.getpid()) - memory.rss) < 2**27
    assert abs(private_bytes(os.getpid()) - memory.uss) < 2**27


def test_the_build_is_told():
    registry = CollectorRegistry()
    ProcessMetrics(dict, registry)

    [family] = [family for family in registry.collect() if family.name == "tuningfork_build"]
    [sample] = family.samples
    assert sample.value == 1
    assert sample.labels["version"] == __version__
    assert sample.labels["python"] == ".".join(map(str, sys.version_info[:3]))
    assert sample.labels["torch"].startswith("2.")
    compiled = library()
    assert sample.labels["compiled"] == ("" if compiled is None else compiled.level.name.lower())
