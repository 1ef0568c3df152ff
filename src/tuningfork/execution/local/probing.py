"""Measures how long training steps take, by making a few of them over the real base and throwing them away."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import ProbeAssignment, StepTimes
from tuningfork.execution.local.messages import Probe, Probed
from tuningfork.training.engine import StepReport, TrainingEngine, TrainingJob

logger = logging.getLogger(__name__)

ENOUGH_SECONDS = 4.0
"""Steps of one size are made until so many seconds of them are measured, or `MOST_STEPS`."""
MOST_STEPS = 8
LONG_BATCH_SECONDS = 20.0
"""A batch that would take longer is not tried: its time follows from steps with one example."""
MOST_SECONDS = 40.0
"""After so many seconds in all no further pass is begun. What has been measured by then is the result."""

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
    _probe: Probe | None = None
    _passes: Generator[None, None, StepTimes] | None = None

    @property
    def idle(self) -> bool:
        """Whether there is no probe."""
        return self._probe is None

    def begin(self, probe: Probe, engine: TrainingEngine) -> Iterator[Probed]:
        """Begin a probe over the base of this engine. If there is another probe, yield at once that there is no result.

        Args:
            probe: what is to be measured.
            engine: has no jobs.

        """
        if self._probe is not None:
            yield Probed(probe.request_id, None)
            return
        self._probe, self._passes = probe, self._run(engine, probe.assignment)

    def advance(self) -> Iterator[Probed]:
        """Make the probe's next pass; yield its result after the last one. It has no steps if they cannot be made."""
        if self._probe is None or self._passes is None:
            return
        try:
            next(self._passes)
        except StopIteration as ended:
            yield self._end(self._probe, ended.value)
        except Exception:
            # A job with these examples will tell its owner what is wrong.
            base = self._probe.assignment.base.name
            logger.info("a probe of %s failed", base, exc_info=True, extra={"action": "probe_failed"})
            yield self._end(self._probe, StepTimes())

    def give_up(self) -> Iterator[Probed]:
        """End the probe, if there is one, without a result, since jobs go first."""
        if self._probe is not None:
            yield self._end(self._probe, None)

    def _end(self, probe: Probe, times: StepTimes | None) -> Probed:
        if self._passes is not None:
            self._passes.close()
        self._probe = self._passes = None
        return Probed(probe.request_id, times)

    def _run(self, engine: TrainingEngine, wanted: ProbeAssignment) -> Generator[None, None, StepTimes]:
        """Make one pass for each `next`; the result is the times of the steps."""
        deadline = self.clock() + MOST_SECONDS
        one = yield from self._steps(engine, wanted, batch_size=1, deadline=deadline)
        batch_size = wanted.hyperparameters.batch_size
        if batch_size == 1 or not one.steps or one.seconds / one.steps * batch_size > LONG_BATCH_SECONDS:
            return one
        whole = yield from self._steps(engine, wanted, batch_size=batch_size, deadline=deadline)
        return whole if whole.steps else one

    def _steps(
        self, engine: TrainingEngine, wanted: ProbeAssignment, *, batch_size: int, deadline: float
    ) -> Generator[None, None, StepTimes]:
        used = replace(wanted.hyperparameters, batch_size=batch_size, epoch_count=_EPOCHS * batch_size)
        engine.admit(
            TrainingJob(id=_JOB, examples=wanted.examples, hyperparameters=used, adapter=wanted.adapter, seed=0)
        )
        try:
            times, is_first, begun = StepTimes(), True, self.clock()
            while times.steps < MOST_STEPS and times.seconds < ENOUGH_SECONDS and self.clock() < deadline:
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
