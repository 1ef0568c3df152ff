"""Measures how long training steps take, by making a few of them over the real base and throwing them away."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import ProbeAssignment, StepTimes
from tuningfork.execution.local.messages import Probe, Probed
from tuningfork.training.engine import StepReport, TrainingEngine, TrainingJob

logger = logging.getLogger(__name__)

ENOUGH_SECONDS = 4.0
"""Steps of one size are made until so many seconds of them are measured, or `MOST_STEPS`."""
MOST_STEPS = 8
LONG_BATCH_SECONDS = 40.0
"""A batch that would take longer is not tried: its time follows from steps with one example."""

_JOB = JobId("probe")
_EPOCHS = 1_000
"""So many that the examples do not run out. Their number has no influence on the time of a step."""


@dataclass(slots=True)
class Probes:
    """The probes of a trainer: one at a time, and none while the trainer has jobs, which would have to wait.

    A probe makes steps with one example first, which show how long a batch may take, and then steps with a batch. The
    first step of each size is not counted, since it prepares what later ones use again, unless it is a long one.

    Args:
        clock: a monotonic clock, in seconds.

    """

    clock: Callable[[], float] = time.monotonic
    _waiting: list[Probe] = field(default_factory=list)
    _passes: Generator[None, None, StepTimes] | None = None

    @property
    def idle(self) -> bool:
        """Whether there is no probe."""
        return not self._waiting

    def add(self, probe: Probe) -> None:
        """Take a probe, to be made after those before it."""
        self._waiting.append(probe)

    def advance(self, engine_for: Callable[[BaseModel], TrainingEngine]) -> Iterator[Probed]:
        """Make the next pass of the oldest probe; yield its result after the last one.

        Args:
            engine_for: gives the engine over a base, which it loads if need be.

        """
        if not self._waiting:
            return
        assignment = self._waiting[0].assignment
        try:
            if self._passes is None:
                self._passes = self._run(engine_for(assignment.base), assignment)
            next(self._passes)
        except StopIteration as ended:
            yield self._end(ended.value)
        except Exception:
            # A job with these examples will tell its owner what is wrong.
            logger.info("a probe of %s failed", assignment.base.name, exc_info=True, extra={"action": "probe_failed"})
            yield self._end(None)

    def give_up(self) -> Iterator[Probed]:
        """End all probes without a result, since jobs go first."""
        while self._waiting:
            yield self._end(None)

    def _end(self, times: StepTimes | None) -> Probed:
        if self._passes is not None:
            self._passes.close()
            self._passes = None
        return Probed(self._waiting.pop(0).request_id, times)

    def _run(self, engine: TrainingEngine, wanted: ProbeAssignment) -> Generator[None, None, StepTimes]:
        """Make one pass for each `next`; the result is the times of the steps."""
        one = yield from self._steps(engine, wanted, batch_size=1)
        batch_size = wanted.hyperparameters.batch_size
        if batch_size == 1 or one.seconds / one.steps * batch_size > LONG_BATCH_SECONDS:
            return one
        return (yield from self._steps(engine, wanted, batch_size=batch_size))

    def _steps(
        self, engine: TrainingEngine, wanted: ProbeAssignment, *, batch_size: int
    ) -> Generator[None, None, StepTimes]:
        used = replace(wanted.hyperparameters, batch_size=batch_size, epoch_count=_EPOCHS * batch_size)
        engine.admit(
            TrainingJob(id=_JOB, examples=wanted.examples, hyperparameters=used, adapter=wanted.adapter, seed=0)
        )
        try:
            times, is_first, begun = StepTimes(), True, self.clock()
            while times.steps < MOST_STEPS and times.seconds < ENOUGH_SECONDS:
                reports = [report for report in engine.advance() if isinstance(report, StepReport)]
                if reports:
                    now = self.clock()
                    if not is_first or now - begun >= ENOUGH_SECONDS:
                        times = times.with_step(sum(report.tokens for report in reports), now - begun)
                    is_first, begun = False, now
                yield
            return times
        finally:
            # An engine has dropped a job that failed.
            with suppress(KeyError):
                engine.release(_JOB)
