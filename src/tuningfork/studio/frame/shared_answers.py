"""One answer for all who ask the same at the same time, such as the open pages of one person that follow one job."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from starlette.responses import Response

_MOST = 2_000


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer with its whole body. `seconds`: for how long others may have it as well; 0: for nobody."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float = 0.0

    @classmethod
    def of(cls, response: Response, seconds: float = 0.0) -> "WholeAnswer":
        """That of a response which holds its body."""
        kept = tuple((name, value) for name, value in response.headers.items() if name != "content-length")
        return cls(response.status_code, kept, bytes(response.body), seconds)

    def response(self, if_none_match: str | None) -> Response:
        """For one asker: without its body if they have it already."""
        headers = dict(self.headers)
        if self.status == 200 and if_none_match is not None and headers.get("etag") == if_none_match:
            headers.pop("content-type", None)
            return Response(status_code=304, headers=headers)
        return Response(self.body, self.status, headers)


@dataclass(slots=True)
class _Entry:
    task: "asyncio.Task[WholeAnswer]"
    until: float | None = None
    """None: the answer is not there yet."""


class SharedAnswers:
    """The answers of the last moment. `monotonic` counts seconds.

    Each belongs to a credential. What somebody changes, they see at once: their answers are forgotten then.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[str | None, Hashable], _Entry] = OrderedDict()

    async def of(
        self, credential: str | None, what: Hashable, make: Callable[[], Awaitable[WholeAnswer]]
    ) -> WholeAnswer:
        """The answer to whoever asks with this credential: one that is there or on its way, else a new one."""
        key = (credential, what)
        entry = self._entries.get(key)
        if entry is None or (entry.until is not None and entry.until <= self._monotonic()):
            entry = _Entry(asyncio.ensure_future(self._made(make)))
            entry.task.add_done_callback(lambda task: self._ended(key, entry, task))
            self._entries[key] = entry
            while len(self._entries) > _MOST:
                self._entries.popitem(last=False)
        # Shielded: one asker who leaves must not end the work for the others.
        return await asyncio.shield(entry.task)

    def forget(self, credential: str | None) -> None:
        """Whoever has this credential has changed something."""
        for key in [key for key in self._entries if key[0] == credential]:
            del self._entries[key]

    @staticmethod
    async def _made(make: Callable[[], Awaitable[WholeAnswer]]) -> WholeAnswer:
        return await make()

    def _ended(self, key: tuple[str | None, Hashable], entry: _Entry, task: "asyncio.Task[WholeAnswer]") -> None:
        shared = 0.0 if task.cancelled() or task.exception() is not None else task.result().seconds
        entry.until = self._monotonic() + shared
        if not shared and self._entries.get(key) is entry:
            del self._entries[key]
