"""Answers whether the service can work, in bounded time whatever the check itself waits for.

The check writes to the disk. A busy disk may take a second for that, and the threads that serve requests may all be
taken. So the check has a thread of its own, and callers wait for it only for a moment.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

PATIENCE_SECONDS = 0.05
"""How long a caller waits for a new result before it gets the last one."""

STUCK_SECONDS = 10.0
"""How long a check may take before the service counts as unable to work."""


Result = TypeVar("Result")


class StuckCheck(Exception):
    """A check takes too long."""


class HealthCheck(Generic[Result]):
    """Runs one check at a time, on a thread of its own. To be used in one event loop.

    Args:
        check: returns why the service cannot work, or None if it can; or the same for each of its parts.
        patience_seconds: how long a caller waits for a new result before it gets the last one. Until there is a result,
            callers wait for up to `stuck_seconds`.
        stuck_seconds: how long a check may take before the service counts as unable to work.
        monotonic: the clock.

    """

    def __init__(
        self,
        check: Callable[[], Result],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._patience_seconds = patience_seconds
        self._stuck_seconds = stuck_seconds
        self._monotonic = monotonic
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")
        self._running: Future[Result] | None = None
        self._began = 0.0
        self._last: Future[Result] | None = None

    async def reason(self: "HealthCheck[str | None]") -> str | None:
        """Why the service cannot work; None if it can. What the check raises is raised."""
        try:
            return await self.result()
        except StuckCheck as stuck:
            return str(stuck)

    async def result(self) -> Result:
        """What the check returned last. What it raises is raised.

        Raises:
            StuckCheck: there is no result, or the check under way takes too long.

        """
        running = self._current()
        await asyncio.wait([asyncio.wrap_future(running)], timeout=self._limit_seconds())
        if running.done():
            return running.result()
        if self._last is None or self._monotonic() - self._began >= self._stuck_seconds:
            raise StuckCheck(
                f"a check of the data directory has not ended for {self._stuck_seconds:g} s: its disk may hang"
            )
        return self._last.result()

    def _current(self) -> Future[Result]:
        """The check under way, or one that begins now."""
        if self._running is None or self._running.done():
            self._last, self._running = self._running, self._executor.submit(self._check)
            self._began = self._monotonic()
        return self._running

    def _limit_seconds(self) -> float:
        return self._stuck_seconds if self._last is None else self._patience_seconds
