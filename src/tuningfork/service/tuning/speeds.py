"""How fast this server trains: measured from the steps of its jobs, base by base, and by probes before the first."""

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.objective import CrossEntropy, Objective
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import StepTimes

LATEST_STEPS = 100
"""The speed of a base is that of so many steps."""
LEAST_STEPS = 3

LATEST_OF_A_JOB = 20
"""How many of a job's last steps the estimate of its remaining time is made from."""

LIKE = 2.0
"""Steps are like one another if none has more than so many times the tokens of another. A small step takes longer for
each of its tokens than a large one."""

PROBE_LASTS_SECONDS = 3600.0
"""What a probe has measured is told for so long. The machine may have more or less other work then."""

_MOST_PROBES = 1_000


ObjectiveKind = type[Objective]
"""Its hyperparameters have no influence on the time of a step."""


@dataclass(frozen=True, slots=True)
class StepKind:
    """Steps whose time a probe measures.

    Args:
        base: over which base.
        batch_size: how many examples a step has.
        rank: of the adapter.
        objective: whose loss is computed.
        size: the tokens of an average step are at least 2 to the power `size`, and fewer than twice as many.

    """

    base: BaseModelName
    batch_size: int
    rank: int
    objective: ObjectiveKind
    size: int

    @classmethod
    def of(cls, base: BaseModelName, used: Hyperparameters, *, rank: int, step_tokens: float) -> Self:
        """The kind of a job's steps, which have so many tokens on average."""
        size = math.floor(math.log2(max(1.0, step_tokens)))
        return cls(base, used.batch_size, rank, type(used.objective), size)


class _Step(NamedTuple):
    """A step of a job: how many seconds after the one before, how many tokens, and with which objective."""

    seconds: float
    tokens: int
    objective: ObjectiveKind


class _Probed(NamedTuple):
    """The tokens a second of a probe's steps, None if they could not be made; and when, in seconds of the clock."""

    tokens_per_second: float | None
    at: float


@dataclass(slots=True)
class _Measured:
    """The last steps over one base, of all jobs."""

    last_step: float = 0.0
    steps: deque[_Step] = field(default_factory=lambda: deque(maxlen=LATEST_STEPS))


@dataclass(slots=True)
class _Job:
    """The base and objective of a claimed job, and when it has made its last steps, in seconds of the clock."""

    base: BaseModelName
    objective: ObjectiveKind
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
        self._jobs: dict[JobId, _Job] = {}
        self._probed: OrderedDict[StepKind, _Probed] = OrderedDict()

    def claimed(self, job_id: JobId, base: BaseModelName, objective: ObjectiveKind = CrossEntropy) -> None:
        """Remember that the next steps of this job are over this base, with this objective."""
        with self._lock:
            self._jobs[job_id] = _Job(base, objective)

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
                measured.steps.append(_Step(now - measured.last_step, tokens, job.objective))
            job.steps.append(now)
            measured.last_step = now

    def let_go(self, job_id: JobId) -> None:
        """Forget the times of a job's steps, since it has ended or waits again; those of the base stay."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def probed(self, kind: StepKind, times: StepTimes) -> None:
        """Remember the time of steps that a probe has made, or, if there are none, that it could not make them."""
        speed = times.tokens / times.seconds if times.seconds > 0 else None
        with self._lock:
            self._probed.pop(kind, None)
            self._probed[kind] = _Probed(speed, self._clock())
            if len(self._probed) > _MOST_PROBES:
                self._probed.popitem(last=False)

    def tokens_per_second(
        self, base: BaseModelName, *, objective: ObjectiveKind = CrossEntropy, like: float | None = None
    ) -> float | None:
        """The tokens of the last steps by the time that they took; None if there were too few steps.

        Args:
            base: over which base.
            objective: only of steps with this objective.
            like: only of steps that are like one of so many tokens; None: of all.

        """
        with self._lock:
            steps = list(self._measured[base].steps) if base in self._measured else []
        steps = [step for step in steps if step.objective is objective]
        if like is not None:
            steps = [step for step in steps if like / LIKE <= step.tokens <= like * LIKE]
        seconds = sum(step.seconds for step in steps)
        return sum(step.tokens for step in steps) / seconds if len(steps) >= LEAST_STEPS and seconds > 0 else None

    def all_tokens_per_second(self) -> Mapping[BaseModelName, float]:
        """The tokens of the last steps over each base by their time; bases with too few steps are left out."""
        with self._lock:
            measured = {base: list(each.steps) for base, each in self._measured.items()}
        found = {}
        for base, steps in measured.items():
            seconds = sum(step.seconds for step in steps)
            if len(steps) >= LEAST_STEPS and seconds > 0:
                found[base] = sum(step.tokens for step in steps) / seconds
        return found

    def is_probed(self, kind: StepKind) -> bool:
        """Whether a probe has lately measured such steps, or found that it cannot make them."""
        with self._lock:
            return self._lately_probed(kind) is not None

    def probed_tokens_per_second(self, kind: StepKind) -> float | None:
        """The tokens of the last probe's steps by their time; None if there were none, or the probe is long ago."""
        with self._lock:
            probed = self._lately_probed(kind)
        return probed.tokens_per_second if probed is not None else None

    def _lately_probed(self, kind: StepKind) -> _Probed | None:
        probed = self._probed.get(kind)
        return probed if probed is not None and self._clock() - probed.at < PROBE_LASTS_SECONDS else None

    def seconds_left(self, job_id: JobId, steps_left: int) -> float | None:
        """About how long a job takes for the rest of its steps, if they come as its last ones did.

        None if it has made fewer than two steps since this server claimed it.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            steps = list(job.steps) if job is not None else []
        return (steps[-1] - steps[0]) / (len(steps) - 1) * steps_left if len(steps) > 1 else None
