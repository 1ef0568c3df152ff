"""How fast this server has trained lately: measured from the steps of its jobs, base by base."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuning_job import JobId

LATEST_STEPS = 100
"""The speed of a base is that of so many steps."""
LEAST_STEPS = 3

_MOST_JOBS = 10_000


@dataclass(slots=True)
class _Measured:
    """The last steps over one base: how long each took after the one before, and how many tokens it had."""

    last_step: float = 0.0
    steps: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LATEST_STEPS))


class Speeds:
    """Measures tokens a second over each base, all of its jobs together. Forgotten when the server ends.

    Args:
        clock: a monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._measured: dict[BaseModelName, _Measured] = {}
        self._jobs: OrderedDict[JobId, tuple[BaseModelName, bool]] = OrderedDict()
        """The base of each job that was claimed, and whether the job has made a step since."""

    def claimed(self, job_id: JobId, base: BaseModelName) -> None:
        """Remember that the next steps of this job are over this base."""
        with self._lock:
            self._jobs.pop(job_id, None)
            self._jobs[job_id] = (base, False)
            if len(self._jobs) > _MOST_JOBS:
                self._jobs.popitem(last=False)

    def stepped(self, job_id: JobId, tokens: int) -> None:
        """Count a step. The first one of a job is not counted, since the base may have been loaded before it.

        Args:
            job_id: of a job that was claimed; others are not counted.
            tokens: all tokens of the step's batch.

        """
        with self._lock:
            if job_id not in self._jobs:
                return
            base, has_stepped = self._jobs[job_id]
            self._jobs[job_id] = (base, True)
            measured, now = self._measured.setdefault(base, _Measured()), self._clock()
            if has_stepped:
                measured.steps.append((now - measured.last_step, tokens))
            measured.last_step = now

    def tokens_per_second(self, base: BaseModelName) -> float | None:
        """The tokens of the last steps by the time that they took; None if there were too few steps."""
        with self._lock:
            steps = list(self._measured[base].steps) if base in self._measured else []
        seconds = sum(duration for duration, _ in steps)
        return sum(tokens for _, tokens in steps) / seconds if len(steps) >= LEAST_STEPS and seconds > 0 else None
