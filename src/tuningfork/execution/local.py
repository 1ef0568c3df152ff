"""The executor of one machine: trainer, generator and rater processes, started on demand and kept warm."""

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.dataset import Dataset
from tuningfork.domain.generation import Chunk, Prompt
from tuningfork.domain.preview import DatasetPreview
from tuningfork.domain.safety import Assessment
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution import environment
from tuningfork.execution.base import (
    AdapterRoom,
    Failed,
    Finished,
    GenerationAssignment,
    RatingAssignment,
    Stopped,
    TrainingAssignment,
    TrainingEvent,
    WorkerDied,
)
from tuningfork.execution.child import Child
from tuningfork.execution.messages import (
    Abandon,
    Admit,
    Count,
    Counted,
    Ended,
    Generate,
    Generated,
    GeneratorReport,
    JobEvent,
    Keep,
    Moved,
    Preview,
    Previewed,
    Rate,
    Rated,
    RaterReport,
    Refused,
    Reports,
    Stop,
    Warm,
)

logger = logging.getLogger(__name__)

Wanted = TypeVar("Wanted")

_Report = GeneratorReport | RaterReport | WorkerDied


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerThreads:
    """Threads that torch uses in each worker. The same job with another number of trainer threads may differ in
    its last bits, because sums are then split differently.
    """

    trainer: int
    generator: int
    rater: int = 1


class LocalExecutor:
    """Implements `execution.base.Executor` with child processes.

    A worker that dies fails what it was doing with `WorkerDied`; the next call starts a new one.
    """

    def __init__(
        self,
        *,
        threads: WorkerThreads,
        log_level: str = "warning",
        room: AdapterRoom | None = None,
        gpu_shortcuts: bool = True,
    ) -> None:
        of_worker = partial(environment.of_worker, log_level=log_level, gpu_shortcuts=gpu_shortcuts)
        self._trainer = _TrainerLink(of_worker(threads.trainer))
        self._generator = _GeneratorLink(of_worker(threads.generator) | environment.of_room(room or AdapterRoom()))
        self._rater = _RequestLink("rater", of_worker(threads.rater))

    def train(self, assignment: TrainingAssignment) -> Iterator[TrainingEvent]:
        """See `Executor.train`."""
        events = self._trainer.begin(assignment)
        while True:
            event = events.get()
            if isinstance(event, WorkerDied):
                raise event
            yield event
            if isinstance(event, Finished | Stopped | Failed):
                return

    def stop(self, job_id: JobId) -> None:
        """See `Executor.stop`."""
        self._trainer.stop(job_id)

    def warm(self, base: BaseModel) -> None:
        """See `Executor.warm`."""
        self._generator.send(Warm(base))

    def keep(self, base: BaseModel, adapters: Collection[Path]) -> None:
        """See `Executor.keep`."""
        self._generator.keep(base, frozenset(adapters))

    def resident_adapters(self) -> Mapping[Path, int]:
        """See `Executor.resident_adapters`."""
        return self._generator.resident_adapters()

    async def generate(self, assignment: GenerationAssignment) -> AsyncGenerator[Chunk, int | None]:
        """See `Executor.generate`."""
        request_id, reports = self._generator.open()
        try:
            self._generator.send(Generate(request_id, assignment))
            while not isinstance(report := await reports.get(), Ended):
                unwanted = yield _expect(report, Generated).chunk
                if unwanted is not None:
                    self._generator.drop(request_id, unwanted)
        finally:
            self._generator.forget(request_id)

    async def count_tokens(self, base: BaseModel, prompt: Prompt) -> int:
        """See `Executor.count_tokens`."""
        request_id, reports = self._generator.open()
        try:
            self._generator.send(Count(request_id, base, prompt))
            return _expect(await reports.get(), Counted).tokens
        finally:
            self._generator.forget(request_id)

    async def preview(self, base: BaseModel, examples: Dataset, shown: int) -> DatasetPreview:
        """See `Executor.preview`."""
        request_id, reports = self._generator.open()
        try:
            self._generator.send(Preview(request_id, base, examples, shown))
            return _expect(await reports.get(), Previewed).preview
        finally:
            self._generator.forget(request_id)

    async def rate(self, assignment: RatingAssignment) -> tuple[Assessment, ...]:
        """See `Executor.rate`."""
        request_id, reports = self._rater.open()
        try:
            self._rater.send(Rate(request_id, assignment))
            return _expect(await reports.get(), Rated).assessments
        finally:
            self._rater.forget(request_id)

    def close(self) -> None:
        """See `Executor.close`."""
        for link in (self._trainer, self._generator, self._rater):
            link.close()

    @property
    def worker_pids(self) -> dict[str, int]:
        """The process ids of the workers that run now, by role."""
        links: dict[str, _Link] = {"trainer": self._trainer, "generator": self._generator, "rater": self._rater}
        return {role: pid for role, link in links.items() if (pid := link.pid) is not None}


def _expect(report: "_Report", wanted: type[Wanted]) -> Wanted:
    if isinstance(report, Refused):
        raise report.error
    if isinstance(report, WorkerDied):
        raise report
    assert isinstance(report, wanted), report  # noqa: S101 - a bug of ours
    return report


class _Link:
    """A child that is started when it is first needed, and again after it died."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self._module = module
        self._environment = environment
        self._lock = threading.RLock()
        self._child: Child | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        child = self._child
        return child.pid if child is not None and child.alive else None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def _running(self) -> Child:
        if self._closed:
            raise WorkerDied("the server is shutting down; the work can be done again after its restart")
        if self._child is None:
            self._child = Child(
                self._module,
                on_message=self._take,
                on_death=self._mourn,
                environment=self._environment,
            )
        return self._child

    def _take(self, message: object) -> None:
        raise NotImplementedError

    def _mourn(self, exit_code: int) -> None:
        """Forget the dead child, so that the next call starts another, and tell everyone who waited for it."""
        with self._lock:
            closing = self._closed
            self._child = None
            waiting = self._drop_all()
        if not closing:
            logger.warning("%s ended with exit code %d", self._module, exit_code, extra={"action": "worker_died"})
        reason = f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"
        for tell in waiting:
            tell(WorkerDied(f"{self._module.rpartition('.')[2]} ended in the middle of its work ({reason})"))

    def _drop_all(self) -> list[Callable[[WorkerDied], None]]:
        raise NotImplementedError


class _TrainerLink(_Link):
    """The trainer, and a queue of events for each of its jobs."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__("tuningfork.execution.trainer_process", environment)
        self._events: dict[JobId, queue.SimpleQueue[TrainingEvent | WorkerDied]] = {}

    def begin(self, assignment: TrainingAssignment) -> "queue.SimpleQueue[TrainingEvent | WorkerDied]":
        events: queue.SimpleQueue[TrainingEvent | WorkerDied] = queue.SimpleQueue()
        with self._lock:
            child = self._running()
            self._events[assignment.job_id] = events
            child.send(Admit(assignment))
        return events

    def stop(self, job_id: JobId) -> None:
        with self._lock:
            if job_id in self._events and self._child is not None:
                self._child.send(Stop(job_id))

    def _take(self, message: object) -> None:
        assert isinstance(message, JobEvent), message  # noqa: S101 - a bug of ours
        with self._lock:
            events = self._events.get(message.job_id)
            if isinstance(message.event, Finished | Stopped | Failed):
                self._events.pop(message.job_id, None)
        if events is not None:
            events.put(message.event)

    def _drop_all(self) -> list[Callable[[WorkerDied], None]]:
        dropped = [events.put for events in self._events.values()]
        self._events.clear()
        return list(dropped)


class _RequestLink(_Link):
    """The generator or the rater, and for each request a queue on the event loop that waits for it."""

    def __init__(self, role: str, environment: dict[str, str]) -> None:
        super().__init__(f"tuningfork.execution.{role}_process", environment)
        self._waiting: dict[str, _Waiting] = {}
        self._numbers = itertools.count(1)

    def open(self) -> "tuple[str, asyncio.Queue[_Report]]":
        """A new request's id and the queue its reports will come to. Belongs to the running event loop."""
        waiting = _Waiting(asyncio.get_running_loop(), asyncio.Queue())
        with self._lock:
            request_id = str(next(self._numbers))
            self._waiting[request_id] = waiting
        return request_id, waiting.reports

    def send(self, command: Warm | Generate | Count | Preview | Rate) -> None:
        with self._lock:
            self._running().send(command)

    def drop(self, request_id: str, candidate: int) -> None:
        """Nobody wants more of one candidate of an open request."""
        with self._lock:
            if request_id in self._waiting and self._child is not None:
                self._child.send(Abandon(request_id, candidate))

    def forget(self, request_id: str) -> None:
        """Nobody waits any more: if the request is still open, the worker is told to drop it."""
        with self._lock:
            if self._waiting.pop(request_id, None) is not None and self._child is not None:
                self._child.send(Abandon(request_id))

    def _take(self, message: object) -> None:
        reports = message.reports if isinstance(message, Reports) else (message,)
        told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[_Report], _Report]]] = {}
        with self._lock:
            for report in reports:
                assert isinstance(report, GeneratorReport | RaterReport), report  # noqa: S101 - a bug of ours
                last = not isinstance(report, Generated)
                find = self._waiting.pop if last else self._waiting.get
                if (waiting := find(report.request_id, None)) is not None:
                    told.setdefault(waiting.loop, []).append((waiting.reports, report))
        for loop, each in told.items():
            _tell(loop, each)

    def _drop_all(self) -> list[Callable[[WorkerDied], None]]:
        dropped = [each.tell for each in self._waiting.values()]
        self._waiting.clear()
        return list(dropped)


class _GeneratorLink(_RequestLink):
    """The generator, what it is to keep in memory, and what it has there."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__("generator", environment)
        self._kept: dict[BaseModel, frozenset[Path]] = {}
        self._resident: dict[Path, int] = {}

    def keep(self, base: BaseModel, adapters: frozenset[Path]) -> None:
        with self._lock:
            before = self._kept.get(base, frozenset())
            self._kept[base] = adapters
            # One that is not running yet need not be started to keep nothing.
            if adapters != before and (adapters or self._child is not None):
                self._running().send(Keep(base, adapters))

    def resident_adapters(self) -> dict[Path, int]:
        with self._lock:
            return dict(self._resident)

    def _running(self) -> Child:
        is_new = self._child is None
        child = super()._running()
        if is_new:
            for base, adapters in self._kept.items():
                child.send(Keep(base, adapters))
        return child

    def _take(self, message: object) -> None:
        if not isinstance(message, Moved):
            super()._take(message)
            return
        with self._lock:
            for directory, size in message.adapters:
                if size is None:
                    self._resident.pop(directory, None)
                else:
                    self._resident[directory] = size

    def _drop_all(self) -> list[Callable[[WorkerDied], None]]:
        self._resident.clear()
        return super()._drop_all()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Who waits for the reports of one request: a queue, to be touched on its event loop only."""

    loop: asyncio.AbstractEventLoop
    reports: "asyncio.Queue[_Report]"

    def tell(self, report: _Report) -> None:
        _tell(self.loop, [(self.reports, report)])


def _tell(loop: asyncio.AbstractEventLoop, told: "list[tuple[asyncio.Queue[_Report], _Report]]") -> None:
    """Wake the loop once for all of these reports."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(_put, told)


def _put(told: "list[tuple[asyncio.Queue[_Report], _Report]]") -> None:
    for reports, report in told:
        reports.put_nowait(report)
