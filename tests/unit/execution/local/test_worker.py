"""The main loop of worker processes."""

import socket
import subprocess
import sys
from multiprocessing.connection import Connection

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
