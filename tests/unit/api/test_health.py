"""Whether the service is well is told at once, even while the check waits for a disk or all threads are taken."""

import asyncio
import threading

import anyio.to_thread
import pytest
from starlette.concurrency import run_in_threadpool

from caller import caller_of
from patience import PATIENCE_SECONDS
from tuningfork.api.health import HealthCheck


class Disk:
    """A check that waits until it is let go on."""

    def __init__(self):
        self.answers = threading.Event()
        self.begun = 0
        self.said = None

    def check(self):
        self.begun += 1
        self.answers.wait(PATIENCE_SECONDS)
        return self.said


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.answers.set()


def test_while_the_disk_is_slow_the_last_result_is_told_and_one_check_waits(disk):
    async def scenario():
        health = HealthCheck(disk.check, patience_seconds=0.01, stuck_seconds=2 * PATIENCE_SECONDS)
        disk.answers.set()
        first = await health.reason()
        disk.answers.clear()
        disk.said = "it is full"
        meanwhile = [await health.reason() for _ in range(20)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            # The second check begins in a thread of its own.
            while disk.begun < 2:  # noqa: ASYNC110 - the disk tells of no event
                await asyncio.sleep(0.01)
        meanwhile += [await health.reason() for _ in range(20)]
        begun = disk.begun
        disk.answers.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (after := await health.reason()) is None:  # noqa: ASYNC110 - it must be asked again
                await asyncio.sleep(0.01)
        return first, meanwhile, begun, after

    first, meanwhile, begun, after = asyncio.run(scenario())

    assert first is None
    assert meanwhile == [None] * 40
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
        health = HealthCheck(disk.check, patience_seconds=0.0, stuck_seconds=2 * PATIENCE_SECONDS)
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
        waiting = (run_in_threadpool(go_on.wait, PATIENCE_SECONDS) for _ in range(int(threads.total_tokens)))
        taken = [asyncio.ensure_future(each) for each in waiting]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while threads.available_tokens:  # noqa: ASYNC110 - the limiter tells of no event
                    await asyncio.sleep(0.01)
            # Less than the time for which the threads are taken.
            answer = await asyncio.wait_for(caller.send("GET", "/healthz", key=""), PATIENCE_SECONDS / 2)
        finally:
            go_on.set()
            await asyncio.gather(*taken)
        return answer.status_code

    caller = caller_of(workshop)

    assert asyncio.run(scenario()) == 200
