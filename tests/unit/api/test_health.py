"""Whether the service is well is told at once, even while the check waits for a disk or all threads are taken."""

import asyncio
import threading

import anyio.to_thread
import pytest
from starlette.concurrency import run_in_threadpool

from caller import caller_of
from tuningfork.api.health import HealthCheck


class Disk:
    """A check that waits until it is let go on."""

    def __init__(self):
        self.answers = threading.Event()
        self.begun = 0
        self.said = None

    def check(self):
        self.begun += 1
        self.answers.wait(60)
        return self.said


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.answers.set()


def test_while_the_disk_is_slow_the_last_result_is_told_and_one_check_waits(disk):
    async def scenario():
        health = HealthCheck(disk.check, patience_seconds=0.01, stuck_seconds=60)
        disk.answers.set()
        first = await health.reason()
        disk.answers.clear()
        disk.said = "it is full"
        meanwhile = [await health.reason() for _ in range(20)]
        begun = disk.begun
        disk.answers.set()
        for _ in range(3_000):
            if after := await health.reason():
                break
            await asyncio.sleep(0.01)
        return first, meanwhile, begun, after

    first, meanwhile, begun, after = asyncio.run(scenario())

    assert first is None
    assert meanwhile == [None] * 20
    assert begun == 2
    assert after == "it is full"


def test_a_check_that_does_not_end_is_told_as_a_fault(disk):
    async def scenario():
        now = [0.0]
        health = HealthCheck(disk.check, patience_seconds=0.01, stuck_seconds=10, monotonic=lambda: now[0])
        disk.answers.set()
        await health.reason()
        disk.answers.clear()
        now[0] = 100.0
        before = await health.reason()
        now[0] = 109.9
        still = await health.reason()
        now[0] = 110.0
        return before, still, await health.reason()

    assert asyncio.run(scenario()) == (
        None,
        None,
        "a check of the data directory has not ended for 10 s: its disk may hang",
    )


def test_the_first_result_is_waited_for(disk):
    async def scenario():
        health = HealthCheck(disk.check, patience_seconds=0.0, stuck_seconds=60)
        disk.said = "it is full"
        asking = asyncio.ensure_future(health.reason())
        await asyncio.sleep(0.05)
        early = asking.done()
        disk.answers.set()
        return early, await asking

    assert asyncio.run(scenario()) == (False, "it is full")


def test_health_needs_none_of_the_threads_that_serve_requests(workshop):
    async def scenario():
        go_on, threads = threading.Event(), anyio.to_thread.current_default_thread_limiter()
        taken = [asyncio.ensure_future(run_in_threadpool(go_on.wait, 60)) for _ in range(int(threads.total_tokens))]
        for _ in range(3_000):
            if not threads.available_tokens:
                break
            await asyncio.sleep(0.01)
        try:
            answer = await asyncio.wait_for(caller.send("GET", "/healthz", key=""), 30)
        finally:
            go_on.set()
            await asyncio.gather(*taken)
        return answer.status_code

    caller = caller_of(workshop)

    assert asyncio.run(scenario()) == 200
