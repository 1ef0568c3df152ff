"""How fast this server trains: measured from the steps of its jobs, base by base, and by probes before the first."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import StepTimes

LATEST_STEPS = 100
"""The speed of a base is that of so many steps."""
LEAST_STEPS = 3

LATEST_OF_A_JOB = 20
"""The time that is left of a job follows from so many of its steps."""

LIKE = 2.0
"""Steps are like one another if none has more than so many times the tokens of another. A small step takes longer for
each of its tokens than a large one."""

_MOST_JOBS = 10_000
_MOST_PROBES = 1_000


@dataclass(frozen=True, slots=True)
class StepKind:
    """Steps over a base whose time a probe has measured: with so many examples, and an adapter of this rank."""

    base: BaseModelName
    batch_size: int
    rank: int


@dataclass(slots=True)
class _Measured:
    """The last steps over one base: how long each took after the one before, and how many tokens it had."""

    last_step: float = 0.0
    steps: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LATEST_STEPS))


@dataclass(slots=True)
class _Job:
    """The base of a job that was claimed, and when it has made its last steps, in seconds of the clock."""

    base: BaseModelName
    steps: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST_OF_A_JOB + 1))


class Speeds:
    """Measures tokens a second over each base, all of its jobs together. Forgotten when the server ends.

    Args:
        clock: a monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._measured: dict[BaseModelName, _Measured] = {}
        self._jobs: OrderedDict[JobId, _Job] = OrderedDict()
        self._probed: OrderedDict[StepKind, float] = OrderedDict()

    def claimed(self, job_id: JobId, base: BaseModelName) -> None:
        """Remember that the next steps of this job are over this base."""
        with self._lock:
            self._jobs.pop(job_id, None)
            self._jobs[job_id] = _Job(base)
            if len(self._jobs) > _MOST_JOBS:
                self._jobs.popitem(last=False)

    def stepped(self, job_id: JobId, tokens: int) -> None:
        """Count a step. The first one of a job is not counted, since the base may have been loaded before it.

        Args:
            job_id: of a job that was claimed; others are not counted.
            tokens: all tokens of the step's batch.

        """
        with self._lock:
            if (job := self._jobs.get(job_id)) is None:
                return
            measured, now = self._measured.setdefault(job.base, _Measured()), self._clock()
            if job.steps:
                measured.steps.append((now - measured.last_step, tokens))
            job.steps.append(now)
            measured.last_step = now

    def probed(self, kind: StepKind, times: StepTimes) -> None:
        """Remember the time of steps that a probe has made."""
        if times.seconds > 0:
            with self._lock:
                self._probed[kind] = times.tokens / times.seconds
                if len(self._probed) > _MOST_PROBES:
                    self._probed.popitem(last=False)

    def tokens_per_second(self, base: BaseModelName, *, like: float | None = None) -> float | None:
        """The tokens of the last steps by the time that they took; None if there were too few steps.

        Args:
            base: over which base.
            like: only of steps that are like one of so many tokens; None: of all.

        """
        with self._lock:
            steps = list(self._measured[base].steps) if base in self._measured else []
        if like is not None:
            steps = [step for step in steps if like / LIKE <= step[1] <= like * LIKE]
        seconds = sum(duration for duration, _ in steps)
        return sum(tokens for _, tokens in steps) / seconds if len(steps) >= LEAST_STEPS and seconds > 0 else None

    def probed_tokens_per_second(self, kind: StepKind) -> float | None:
        """The tokens of a probe's steps by the time that they took; None if there was none."""
        with self._lock:
            return self._probed.get(kind)

    def seconds_left(self, job_id: JobId, steps_left: int) -> float | None:
        """About how long a job takes for the rest of its steps, if they come as its last ones did.

        None if it has made fewer than two steps since this server claimed it.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            steps = list(job.steps) if job is not None else []
        return (steps[-1] - steps[0]) / (len(steps) - 1) * steps_left if len(steps) > 1 else None
