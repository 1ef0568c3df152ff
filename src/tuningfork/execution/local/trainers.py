"""Training in a child process of this machine."""

import queue
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial

from tuningfork.domain.job_stage import Beginning
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    LAST_EVENTS,
    ProbeAssignment,
    Resumed,
    StepTimes,
    TrainerDeath,
    TrainerDied,
    TrainingAssignment,
    TrainingEvent,
    WorkerDied,
)
from tuningfork.execution.local.child import SILENCE_SECONDS
from tuningfork.execution.local.endings import Ending
from tuningfork.execution.local.loadings import Loadings
from tuningfork.execution.local.messages import Admit, HeldUp, JobEvent, LoadingBase, Pause, Probe, Probed, Stop
from tuningfork.execution.local.restarting import RestartingChild

MODULE = "tuningfork.execution.local.trainer_process"


class LocalTrainers(RestartingChild):
    """Implements `execution.base.Trainers` with one trainer process, and a queue of events for each of its jobs.

    If the trainer dies, the events of each of its jobs end with `TrainerDied`; the next call starts a new trainer.
    """

    def __init__(
        self, environment: dict[str, str], module: str = MODULE, *, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        super().__init__(module, environment, silence_seconds=silence_seconds)
        self._events: dict[JobId, queue.SimpleQueue[TrainingEvent | WorkerDied]] = {}
        self._probe: tuple[str, Future[StepTimes | None]] | None = None
        self._loadings = Loadings(self._monotonic)

    def beginnings(self) -> Mapping[JobId, Beginning]:
        """See `Trainers.beginnings`."""
        with self._lock:
            return self._loadings.beginnings()

    def train(self, assignment: TrainingAssignment) -> Iterator[TrainingEvent]:
        """See `Trainers.train`."""
        events = self._begin(assignment)
        while True:
            event = events.get()
            if isinstance(event, WorkerDied):
                raise event
            yield event
            if isinstance(event, LAST_EVENTS):
                return

    def stop(self, job_id: JobId) -> None:
        """See `Trainers.stop`."""
        self._tell(job_id, Stop(job_id))

    def pause(self, job_id: JobId) -> None:
        """See `Trainers.pause`."""
        self._tell(job_id, Pause(job_id))

    def probe(self, assignment: ProbeAssignment) -> Future[StepTimes | None]:
        """See `Trainers.probe`."""
        answer: Future[StepTimes | None] = Future()
        answer.set_running_or_notify_cancel()
        with self._lock:
            request_id = secrets.token_hex(8)
            is_free = not (self._events or self._probe)
            # A trainer that does not run holds no base.
            if is_free and self._child is not None and self._child.send(Probe(request_id, assignment)):
                self._probe = request_id, answer
                return answer
        answer.set_result(None)
        return answer

    @property
    def _is_excused(self) -> bool:
        return self._probe is not None

    def _tell(self, job_id: JobId, command: Stop | Pause) -> None:
        with self._lock:
            if job_id in self._events:
                self._mention(command)

    def _begin(self, assignment: TrainingAssignment) -> "queue.SimpleQueue[TrainingEvent | WorkerDied]":
        events: queue.SimpleQueue[TrainingEvent | WorkerDied] = queue.SimpleQueue()
        with self._lock:
            self._order(Admit(assignment))
            self._events[assignment.job_id] = events
            self._loadings.given(assignment.job_id)
        return events

    def _take(self, message: object) -> None:
        if isinstance(message, LoadingBase):
            with self._lock:
                self._loadings.loading(message.job_id, message.base)
            return
        if isinstance(message, HeldUp):
            with self._lock:
                self._loadings.held_up(message.job_id, message.reason)
            return
        if isinstance(message, Probed):
            with self._lock:
                probe = self._probe
                is_awaited = probe is not None and probe[0] == message.request_id
                self._probe = None if is_awaited else probe
            if probe is not None and is_awaited:
                probe[1].set_result(message.times)
            return
        assert isinstance(message, JobEvent), type(message).__name__  # noqa: S101 - a bug of ours
        with self._lock:
            self._loadings.taken_up(message.job_id, has_base=isinstance(message.event, Resumed))
            events = self._events.get(message.job_id)
            if isinstance(message.event, LAST_EVENTS):
                self._events.pop(message.job_id, None)
        if events is not None:
            events.put(message.event)

    def _drop_all(self, ending: Ending) -> list[Callable[[WorkerDied], None]]:
        death = TrainerDeath(
            id=secrets.token_hex(8),
            jobs=frozenset(self._events),
            from_outside=ending.from_outside,
            during_probe=self._probe is not None,
        )
        dropped: list[Callable[[WorkerDied], None]] = [self._probe[1].set_exception] if self._probe is not None else []
        dropped += [partial(_report, events, death) for events in self._events.values()]
        self._events.clear()
        self._probe = None
        self._loadings.forget_all()
        return dropped


def _report(events: "queue.SimpleQueue[TrainingEvent | WorkerDied]", death: TrainerDeath, error: WorkerDied) -> None:
    events.put(TrainerDied(error.message, death))
