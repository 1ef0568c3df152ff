"""Who may keep a thread with work that takes long: each owner with one piece of work after the other."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.service.datasets.shelf import Shelf

Result = TypeVar("Result")

LARGE_BYTES = 2**20
"""Of the rows of a dataset; those of a smaller one are looked through in less than a second."""


class Turns:
    """Does work in threads of its own, and of each owner one piece after the other. Belongs to one event loop.

    So one owner holds one thread, however much they ask for, and what the work needs of memory does not grow with the
    number of requests.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._turns: WeakValueDictionary[Email, asyncio.Lock] = WeakValueDictionary()

    async def run(self, owner: Email, work: Callable[[], Result]) -> Result:
        """Do this work when its owner's earlier work has ended.

        If the caller leaves before it begins, it is not done. Once it has begun, it is done to its end, and the owner's
        next piece of work waits for that.
        """
        turn = self._turns.setdefault(owner, asyncio.Lock())
        async with turn:
            working = self._threads.submit(contextvars.copy_context().run, work)
            try:
                return await asyncio.wrap_future(working)
            finally:
                if not working.done():
                    await asyncio.wait({asyncio.wrap_future(working)})


class LongWork:
    """Work over all rows of a dataset: at once where they are few, else in the owner's turn."""

    def __init__(self, shelf: Shelf, threads: Executor) -> None:
        self._shelf = shelf
        self._turns = Turns(threads)

    async def over(self, principal: Principal, dataset_id: StagedDatasetId, work: Callable[[], Result]) -> Result:
        """Do this work in a thread.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.

        """
        dataset = await asyncio.to_thread(partial(self._shelf.find, principal, dataset_id))
        if dataset.size_bytes < LARGE_BYTES:
            return await asyncio.to_thread(work)
        return await self._turns.run(principal.email, work)
