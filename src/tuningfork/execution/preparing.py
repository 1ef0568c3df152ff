"""Long work that a request needs before an engine can take it, done on a thread beside the engine.

Megabytes of prompt take seconds to cut into tokens and a large schema up to seconds to compile; both leave Python's
lock to others meanwhile, so those who are being answered hardly notice.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_STACK_BYTES = 64 * 1024 * 1024
"""Schemas are compiled recursively; what a thread gets by itself depends on the system and can be very little."""
_PATIENCE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of one piece of work: a result or an error."""

    request_id: str
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Preparing:
    """Pieces of work, one after the other, in the order in which they came. Used by one thread."""

    _tasks: "queue.SimpleQueue[tuple[str, Callable[[], Any]]]" = field(default_factory=queue.SimpleQueue)
    _done: "queue.SimpleQueue[Prepared]" = field(default_factory=queue.SimpleQueue)
    _wanted: set[str] = field(default_factory=set)
    _thread: threading.Thread | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._wanted

    def begin(self, request_id: str, work: Callable[[], Any]) -> None:
        """Do the work when what came before is done."""
        if self._thread is None:
            usual = threading.stack_size(_STACK_BYTES)
            self._thread = threading.Thread(target=self._run, name="preparing", daemon=True)
            self._thread.start()
            threading.stack_size(usual)
        self._wanted.add(request_id)
        self._tasks.put((request_id, work))

    def forget(self, request_id: str) -> None:
        """Nobody waits for this any more; work that has not begun is not done."""
        self._wanted.discard(request_id)

    def finished(self, *, patient: bool) -> list[Prepared]:
        """What has been done since the last call; with `patient`, a moment is given to what is under way."""
        found: list[Prepared] = []
        try:
            if patient and not self.idle:
                found.append(self._done.get(timeout=_PATIENCE_SECONDS))
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            pass
        wanted = [each for each in found if each.request_id in self._wanted]
        self._wanted -= {each.request_id for each in wanted}
        return wanted

    def _run(self) -> None:
        while True:
            request_id, work = self._tasks.get()
            if request_id not in self._wanted:
                continue
            try:
                self._done.put(Prepared(request_id, work()))
            except Exception as error:  # noqa: BLE001 - told to whoever waits
                self._done.put(Prepared(request_id, error=error))
