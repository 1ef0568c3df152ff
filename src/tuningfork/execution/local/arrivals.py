"""Requests that have reached a generator and are not begun: owners take turns, however many requests each has sent."""

import time
from collections.abc import Callable, Iterator

from tuningfork.domain.owner_queue import OwnerQueue
from tuningfork.execution.local.messages import Count, Generate, Preview, Tokenize, TryAdapter

SECONDS_PER_STEP = 0.02
"""How long requests are begun between two steps of the engine; cutting one prompt into tokens takes up to 10 ms."""

Request = Count | Generate | Preview | Tokenize | TryAdapter


class Arrivals:
    """The requests that wait to be begun. Not thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._waiting: OwnerQueue[Request] = OwnerQueue()
        self._by_id: dict[str, Request] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, request: Request) -> None:
        """Put a request behind its owner's others."""
        self._waiting.append(owner_of(request), request)
        self._by_id[request.request_id] = request

    def withdraw(self, request_id: str) -> bool:
        """Remove a request that nobody waits for any more; False if it has been taken or never came."""
        request = self._by_id.pop(request_id, None)
        if request is None:
            return False
        self._waiting.remove(owner_of(request), request)
        return True

    def take(self) -> Iterator[Request]:
        """The requests to be begun before the next step: at least one, and further ones while there is time."""
        deadline = self._monotonic() + SECONDS_PER_STEP
        while self._waiting:
            request = self._waiting.take()
            del self._by_id[request.request_id]
            yield request
            if self._monotonic() >= deadline:
                return


def owner_of(request: Request) -> str:
    """On whose behalf the request was made."""
    return request.assignment.owner if isinstance(request, Generate) else request.owner
