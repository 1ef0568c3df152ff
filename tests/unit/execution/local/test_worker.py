"""The main loop of worker processes."""

import platform
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection

import pytest

from patience import PATIENCE_SECONDS

WORKER = """
import gc
from tuningfork.execution.local import worker

class Telling:
    idle = True

    def obey(self, command):
        yield gc.get_freeze_count()

    def advance(self):
        return iter(())

worker.run(Telling())
"""


def test_what_a_worker_has_imported_is_left_out_of_garbage_collections():
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen([sys.executable, "-c", WORKER, str(theirs.fileno())], pass_fds=(theirs.fileno(),))
    pipe = Connection(ours.detach())
    pipe.send("how many?")
    assert pipe.poll(PATIENCE_SECONDS)
    frozen = pipe.recv()
    pipe.close()
    child.wait(PATIENCE_SECONDS)

    assert frozen > 10_000


IDLE = """
import ctypes
from pathlib import Path
from tuningfork.execution.local import worker

worker.IDLE_SECONDS = 0.05
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

class Working:
    idle = True

    def obey(self, command):
        if command == "work":
            blocks = [library.malloc(100_000) for _ in range(1_000)]
            for block in blocks:
                library.memset(block, 1, 100_000)
            self.above = library.malloc(100_000)
            for block in blocks:
                library.free(block)
        yield int(Path("/proc/self/smaps_rollup").read_text().split("Rss:")[1].split()[0]) * 1024

    def advance(self):
        return iter(())

worker.run(Working())
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc alone keeps and gives")
def test_a_worker_without_work_gives_free_memory_back_to_the_system():
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen([sys.executable, "-c", IDLE, str(theirs.fileno())], pass_fds=(theirs.fileno(),))
    pipe = Connection(ours.detach())

    def asked(command):
        pipe.send(command)
        assert pipe.poll(PATIENCE_SECONDS)
        return pipe.recv()

    after_work = asked("work")
    ends = time.monotonic() + PATIENCE_SECONDS
    while after_work - asked("tell") < 50e6:
        assert time.monotonic() < ends, "the memory was kept"
        time.sleep(0.2)
    pipe.close()
    child.wait(PATIENCE_SECONDS)
