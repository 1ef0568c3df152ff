"""What the compiled library of this installation is, and how its threads work; skipped where there is none."""

import ctypes
import os
import subprocess
import sys
import threading

import pytest

from tuningfork.modeling.compiled.library import Level, library

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="this installation has no compiled parts")

Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)


def parallel(threads, body):
    calls = LIBRARY.calls
    calls.tf_parallel.argtypes = (ctypes.c_int, Body, ctypes.c_void_p)
    calls.tf_parallel.restype = None
    calls.tf_parallel(threads, Body(lambda _, thread, of: body(thread, of)), None)


@pytest.mark.parametrize(
    ("restriction", "most"), [("default", Level.PLAIN), ("avx2", Level.AVX2), ("avx512", Level.AVX512_BF16)]
)
def test_what_restricts_torch_restricts_the_library(restriction, most):
    program = "from tuningfork.modeling.compiled.library import library; print(int(library().level))"

    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ATEN_CPU_CAPABILITY": restriction},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    # The library of this process may be restricted itself.
    assert int(told.stdout) <= most
    assert "ATEN_CPU_CAPABILITY" in os.environ or int(told.stdout) == min(most, LIBRARY.level)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_thread_of_a_region_works_once_and_the_caller_is_the_first(threads):
    for _ in range(20):
        seen, own = [], {}

        def body(thread, of, seen=seen, own=own):
            seen.append((thread, of))
            own[thread] = threading.get_ident()

        parallel(threads, body)
        assert sorted(seen) == [(thread, threads) for thread in range(threads)]
        assert own[0] == threading.get_ident()
        assert len(set(own.values())) == threads


def test_threads_of_a_region_work_at_the_same_time():
    meeting = threading.Barrier(3)

    # Ends only when all three are there at once.
    parallel(3, lambda *_: meeting.wait(timeout=300))


def test_a_region_that_is_larger_or_smaller_than_the_one_before_has_its_own_threads():
    for threads in (2, 6, 3, 1, 4, 2):
        seen = []
        parallel(threads, lambda thread, of, seen=seen: seen.append((thread, of)))
        assert sorted(seen) == [(thread, threads) for thread in range(threads)]


def test_a_region_within_a_region_or_beside_another_is_worked_by_its_caller_alone():
    inner, outer = [], []

    def body(thread, of):
        outer.append((thread, of))
        parallel(2, lambda *own: inner.append((thread, *own)))

    parallel(2, body)
    assert sorted(outer) == [(0, 2), (1, 2)]
    assert sorted(inner) == [(0, 0, 1), (1, 0, 1)]

    beside = []

    def while_another_works(*_):
        other = threading.Thread(target=parallel, args=(2, lambda *own: beside.append(own)))
        other.start()
        other.join(300)

    parallel(1, while_another_works)
    # A region of one thread does not take the pool.
    assert sorted(beside) == [(0, 2), (1, 2)]
    beside.clear()
    parallel(2, lambda thread, _: while_another_works() if thread == 0 else None)
    assert beside == [(0, 1)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_the_child_of_a_fork_has_a_pool_of_its_own():
    program = """
import os, sys
sys.path[:0] = ["tests/unit/modeling/compiled"]
from test_library import parallel
parallel(3, lambda *_: None)
child = os.fork()
if not child:
    seen = []
    parallel(3, lambda thread, of: seen.append((thread, of)))
    os._exit(0 if sorted(seen) == [(0, 3), (1, 3), (2, 3)] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=300, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
