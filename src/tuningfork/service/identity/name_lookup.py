"""Looks up addresses of hosts in threads that nothing waits for, since the system's resolver cannot be interrupted.

asyncio would look them up in threads that it joins when the loop ends, and the interpreter when it exits: a resolver
that does not answer would hold both.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

MOST_LOOKUPS = 4
"""The most lookups at a time, those that nobody waits for any more included."""

Resolve = Callable[..., list[Any]]
"""A function with the arguments of `socket.getaddrinfo`."""


def _in_daemon(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="name-lookup", daemon=True).start()


class NameLookups:
    """Lookups of addresses, each in a daemon thread, which `start` starts. Thread-safe."""

    def __init__(
        self, resolve: Resolve = socket.getaddrinfo, start: Callable[[Callable[[], None]], None] = _in_daemon
    ) -> None:
        self._resolve = resolve
        self._start = start
        self._running = threading.Semaphore(MOST_LOOKUPS)

    def loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop that looks up addresses here."""
        return _Loop(self)

    def begin(self, *arguments: Any, **options: Any) -> "asyncio.Future[list[Any]]":
        """Begin a lookup, for the running event loop.

        Raises:
            OSError: `MOST_LOOKUPS` have not ended.
            RuntimeError: the system gives this process no more threads.

        """
        if not self._running.acquire(blocking=False):
            raise OSError(f"the resolver of this machine has not answered {MOST_LOOKUPS} earlier lookups")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def tell(set_outcome: Callable[[Any], None], outcome: object) -> None:
            if not found.done():
                set_outcome(outcome)

        def look_up() -> None:
            try:
                told: tuple[Callable[[Any], None], object] = found.set_result, self._resolve(*arguments, **options)
            except Exception as error:  # noqa: BLE001 - told to who waits, such as UnicodeError for a name that is none
                told = found.set_exception, error
            finally:
                self._running.release()
            try:
                loop.call_soon_threadsafe(tell, *told)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                return

        try:
            self._start(look_up)
        except BaseException:
            self._running.release()
            raise
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, lookups: NameLookups) -> None:
        super().__init__()
        self._lookups = lookups

    async def getaddrinfo(self, *arguments: Any, **options: Any) -> list[Any]:
        """As of any loop."""
        return await self._lookups.begin(*arguments, **options)
