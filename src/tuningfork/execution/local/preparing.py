"""Prepares requests that take long to prepare, on threads parallel to the engine's.

Tokenizing megabytes of prompt takes seconds, and compiling a large schema may too. Both release Python's global
interpreter lock meanwhile, so that running requests are hardly slowed down. Schemas have a thread of their own, so that
prompts do not wait for them; and so has each base whose prompts are rendered by a process of its own, so that a base
that takes long delays no other.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tuningfork.domain.owner_queue import OwnerQueue

_STACK_BYTES = 64 * 1024 * 1024
"""The threads' stack size, 64 MiB: schemas are compiled recursively, and a system's default may be too small."""
_PATIENCE_SECONDS = 0.01
_QUICK_IN_A_ROW = 32
"""How many quick requests may go ahead of one that is not."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The outcome of preparing one request: a result or an error."""

    request_id: str
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Preparing:
    """Prepares requests: owners take turns, and each owner's requests are prepared in order of arrival.

    Called from one thread only.
    """

    _prompts: "dict[str, _Lane]" = field(default_factory=dict)
    _schemas: "_Lane" = field(default_factory=lambda: _Lane("compiling"))
    _done: "queue.SimpleQueue[Prepared]" = field(default_factory=queue.SimpleQueue)
    _wanted: set[str] = field(default_factory=set)

    @property
    def idle(self) -> bool:
        """Whether no request is being tokenized or compiled, or waits for that."""
        return not self._wanted

    def begin(
        self,
        request_id: str,
        work: Callable[[], Any],
        *,
        owner: str = "",
        compiles: bool = False,
        place: str = "",
        is_quick: bool = False,
    ) -> None:
        """Queue the function that prepares this request, after the owner's others.

        Args:
            request_id: the request.
            work: the function; what it returns or raises becomes the outcome.
            owner: on whose behalf.
            compiles: it compiles a schema.
            place: requests of different places do not wait for one another.
            is_quick: it goes ahead of those that are not, `_QUICK_IN_A_ROW` times in a row at most.

        """
        self._wanted.add(request_id)
        lane = self._schemas if compiles else self._prompts.setdefault(place, _Lane("preparing"))
        lane.add(owner, lambda: self._do(request_id, work), is_quick=is_quick)

    def wait(self, request_id: str, seconds: float) -> None:
        """Prepare nothing: the request is finished after this time, without a result."""
        self._wanted.add(request_id)
        timer = threading.Timer(seconds, lambda: self._do(request_id, lambda: None))
        timer.daemon = True
        timer.start()

    def forget(self, request_id: str) -> None:
        """Drop this request's result; its work is skipped if it has not begun."""
        self._wanted.discard(request_id)

    def is_wanted(self, request_id: str) -> bool:
        """Whether somebody waits for this request's result. May be called from any thread."""
        return request_id in self._wanted

    def finished(self, *, patient: bool) -> list[Prepared]:
        """The outcomes since the last call. `patient`: if there is none, wait for one, `_PATIENCE_SECONDS` at most."""
        found: list[Prepared] = []
        try:
            if patient and not self.idle:
                found.append(self._done.get(timeout=_PATIENCE_SECONDS))
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            pass
        wanted = {each.request_id: each for each in found if each.request_id in self._wanted}
        self._wanted -= wanted.keys()
        return list(wanted.values())

    def _do(self, request_id: str, work: Callable[[], Any]) -> None:
        if request_id not in self._wanted:
            return
        try:
            self._done.put(Prepared(request_id, work()))
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            self._done.put(Prepared(request_id, error=error))


class _Lane:
    """A thread that does one piece of work after the other; it is started with the first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: OwnerQueue[Callable[[], None]] = OwnerQueue()
        self._quick: OwnerQueue[Callable[[], None]] = OwnerQueue()
        self._quick_in_a_row = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, owner: str, task: Callable[[], None], *, is_quick: bool) -> None:
        with self._changed:
            (self._quick if is_quick else self._tasks).append(owner, task)
            self._changed.notify()
        if self._thread is None:
            usual = threading.stack_size(_STACK_BYTES)
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
            threading.stack_size(usual)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._quick)
                task = self._next()
            task()

    def _next(self) -> Callable[[], None]:
        is_quick = bool(self._quick) and not (self._tasks and self._quick_in_a_row >= _QUICK_IN_A_ROW)
        self._quick_in_a_row = self._quick_in_a_row + 1 if is_quick and self._tasks else 0
        return (self._quick if is_quick else self._tasks).take()
