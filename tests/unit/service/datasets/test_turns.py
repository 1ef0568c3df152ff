"""Work over large datasets: each owner holds one thread at most, and threads of other requests never."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from patience import PATIENCE_SECONDS
from tuningfork.service.datasets.turns import LARGE_BYTES, LongWork, Turns
from workshop import ADA, BOB, datasets_of


class Work:
    """Work that goes on until it is released; `begun` and `most` count how much of it there is."""

    def __init__(self):
        self.released, self.has_begun = threading.Event(), threading.Event()
        self.begun = self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.begun, self.now = self.begun + 1, self.now + 1
            self.most = max(self.most, self.now)
        self.has_begun.set()
        assert self.released.wait(PATIENCE_SECONDS)
        with self._lock:
            self.now -= 1
        return threading.current_thread().name


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3, thread_name_prefix="long") as threads:
        yield threads


async def until_begun(work):
    assert await asyncio.to_thread(work.has_begun.wait, PATIENCE_SECONDS)


def test_an_owner_who_asks_for_much_at_once_holds_one_thread_and_stops_nobody_else(threads):
    async def story():
        turns, work = Turns(threads), Work()
        asked = [asyncio.ensure_future(turns.run(ADA.email, work)) for _ in range(5)]
        await until_begun(work)

        assert await turns.run(BOB.email, lambda: "done") == "done"
        assert work.begun == 1

        work.released.set()
        await asyncio.gather(*asked)
        assert (work.begun, work.most) == (5, 1)

    asyncio.run(story())


def test_work_whose_caller_leaves_is_not_begun_or_ends_before_the_owners_next(threads):
    async def story():
        turns, work, others = Turns(threads), Work(), Work()
        others.released.set()
        begun = asyncio.ensure_future(turns.run(ADA.email, work))
        await until_begun(work)
        left = asyncio.ensure_future(turns.run(ADA.email, others))
        following = asyncio.ensure_future(turns.run(ADA.email, lambda: work.now))
        await asyncio.sleep(0)
        left.cancel()
        begun.cancel()
        await asyncio.sleep(0.05)
        assert not following.done()

        work.released.set()

        assert await following == 0
        assert (work.begun, others.begun) == (1, 0)

    asyncio.run(story())


def test_only_large_datasets_wait_for_a_turn(workshop, threads):
    async def story():
        datasets = datasets_of(workshop)
        small, large = (_uploaded(datasets, size) for size in (100, LARGE_BYTES))
        over = partial(LongWork(datasets.shelf, threads).over, ADA)

        assert not (await over(small.id, lambda: threading.current_thread().name)).startswith("long")
        assert (await over(large.id, lambda: threading.current_thread().name)).startswith("long")

    asyncio.run(story())


def _uploaded(datasets, size):
    arriving = datasets.arrivals.begin(ADA, "a.csv", "", None)
    arriving.add(b"text_input,output\n" + b"".join(b"%d,%s\n" % (n, 1_000 * b"x") for n in range(size // 1_000 + 1)))
    try:
        return datasets.arrivals.finish(arriving)
    finally:
        arriving.close()
