"""The process that starts others: what it does where the system starts none, and what is said where it has ended."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

PRELUDE = """
import errno, os, signal, sys
from tuningfork.execution.local.forking import ForkServer

def serve(pipe):
    pipe.send(pipe.recv())
    pipe.recv()

pids = []
real, refused = os.fork, 0

def fork():
    if refused and len(pids) == 1:
        globals()["refused"] -= 1
        raise BlockingIOError(errno.EAGAIN, "no")
    pid = real()
    pids.append(pid)
    return pid

os.fork = fork
"""


def run(script):
    """What a fresh interpreter prints: a copy of a process with threads could wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_process_that_the_system_did_not_start_can_be_started_later():
    said = run("""
refused = 1
forks = ForkServer(serve)
try:
    forks.start()
except OSError as error:
    print(error.errno == errno.EAGAIN)
forked = forks.start()
forked.pipe.send("again")
print(forked.pipe.recv(), forks.end(forked) == signal.SIGKILL)
""")
    assert said == ["True", "again", "True"]


def test_a_process_that_is_killed_closes_its_pipe_and_is_ended_later():
    said = run("""
forks = ForkServer(serve)
forked = forks.start()
forks.kill(forked)
try:
    forked.pipe.recv()
except EOFError:
    print("closed")
print(forks.end(forked) == signal.SIGKILL)
forks.kill(forked)
print(forks.end(forks.start()) == signal.SIGKILL)
""")
    assert said == ["closed", "True", "True"]


def test_what_the_processes_share_is_left_out_of_their_garbage_collections():
    said = run("""
import gc

def serve(pipe):
    pipe.send(gc.get_freeze_count())

forks = ForkServer(serve)
print(forks.start().pipe.recv() > 1_000, gc.get_freeze_count())
""")
    assert said == ["True", "0"]


def test_the_end_of_the_fork_server_is_told():
    said = run("""
forks = ForkServer(serve, on_loss=lambda: print("lost"))
os.kill(pids[0], signal.SIGKILL)
os.waitpid(pids[0], 0)
for _ in range(2):
    try:
        forks.start()
    except OSError as error:
        print(error)
""")
    assert said == ["lost", "the", "fork", "server", "has", "ended"] * 2
