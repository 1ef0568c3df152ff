"""Requests from one event loop to a child process: the code that generators and raters share."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tuningfork.execution.base import WorkerDied
from tuningfork.execution.local.child import SILENCE_SECONDS
from tuningfork.execution.local.endings import Ending
from tuningfork.execution.local.messages import (
    Abandon,
    Generated,
    GeneratorReport,
    RaterReport,
    Refused,
    Reports,
)
from tuningfork.execution.local.restarting import RestartingChild

Expected = TypeVar("Expected")

Report = GeneratorReport | RaterReport | WorkerDied
"""A report for a request, or the worker's death."""


class RequestChild(RestartingChild):
    """A child process that answers requests, with a queue for the reports of each request."""

    def __init__(self, module: str, environment: dict[str, str], *, silence_seconds: float = SILENCE_SECONDS) -> None:
        super().__init__(module, environment, silence_seconds=silence_seconds)
        self._waiting: dict[str, _Waiting] = {}
        self._numbers = itertools.count(1)

    def _open(self) -> "tuple[str, asyncio.Queue[Report]]":
        """A new request's id, and the queue for its reports. The queue belongs to the running event loop."""
        waiting = _Waiting(asyncio.get_running_loop(), asyncio.Queue())
        with self._lock:
            request_id = str(next(self._numbers))
            self._waiting[request_id] = waiting
        return request_id, waiting.reports

    def _drop(self, request_id: str, candidate: int) -> None:
        """Tell the worker to end one candidate of an open request."""
        with self._lock:
            if request_id in self._waiting:
                self._mention(Abandon(request_id, candidate))

    def _forget(self, request_id: str) -> None:
        """Stop waiting for the request's reports; tell the worker to drop the request if it has not ended."""
        with self._lock:
            if self._waiting.pop(request_id, None) is not None:
                self._mention(Abandon(request_id))

    def _take(self, message: object) -> None:
        reports = message.reports if isinstance(message, Reports) else (message,)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[Report], Report]]] = {}
        with self._lock:
            for report in reports:
                assert isinstance(report, GeneratorReport | RaterReport), _kind(report)  # noqa: S101 - a bug of ours
                last = not isinstance(report, Generated)
                find = self._waiting.pop if last else self._waiting.get
                if (waiting := find(report.request_id, None)) is not None:
                    by_loop.setdefault(waiting.loop, []).append((waiting.reports, report))
        for loop, deliveries in by_loop.items():
            _deliver(loop, deliveries)

    def _drop_all(self, ending: Ending) -> list[Callable[[WorkerDied], None]]:  # noqa: ARG002 - how matters to trainers
        dropped = [each.deliver for each in self._waiting.values()]
        self._waiting.clear()
        return list(dropped)


def expect(report: Report, expected: type[Expected]) -> Expected:
    """Return the report if it is of the expected class.

    Raises:
        TuningforkError: the error with which the worker refused the request.
        WorkerDied: the worker died meanwhile.

    """
    if isinstance(report, Refused):
        raise report.error
    if isinstance(report, WorkerDied):
        raise report
    assert isinstance(report, expected), _kind(report)  # noqa: S101 - a bug of ours
    return report


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The queue for the reports of one request, which may be used on its event loop only."""

    loop: asyncio.AbstractEventLoop
    reports: "asyncio.Queue[Report]"

    def deliver(self, report: Report) -> None:
        _deliver(self.loop, [(self.reports, report)])


def _kind(report: object) -> str:
    """The class of a report, for the message of an error. Reports themselves hold answers, which are never logged."""
    return type(report).__name__


def _deliver(loop: asyncio.AbstractEventLoop, deliveries: "list[tuple[asyncio.Queue[Report], Report]]") -> None:
    """Put each report into its queue, all with one wake-up of the loop."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(_put, deliveries)


def _put(deliveries: "list[tuple[asyncio.Queue[Report], Report]]") -> None:
    for queue, report in deliveries:
        queue.put_nowait(report)
