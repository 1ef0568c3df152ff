"""The trainer: a process that holds base models and runs tuning jobs over them.

Run by `execution/local/trainers.py` as `python -m tuningfork.execution.local.trainer_process FD`.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing, ArtifactStore
from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import Code, InternalError, TuningforkError
from tuningfork.domain.exhaustion import reason_of
from tuningfork.domain.snapshot_grid import SnapshotGrid
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    Evaluated,
    Failed,
    Finished,
    Paused,
    Stepped,
    Stopped,
    TrainingAssignment,
    TrainingEvent,
)
from tuningfork.execution.local import worker
from tuningfork.execution.local.checkpoints import KeptCheckpoints
from tuningfork.execution.local.environment import artifacts_in
from tuningfork.execution.local.messages import (
    HeldUp,
    JobEvent,
    LoadingBase,
    Pause,
    Probe,
    Probed,
    Stop,
    TrainerCommand,
    TrainerMessage,
)
from tuningfork.execution.local.obstacles import PASSING, Obstacle, Waits
from tuningfork.execution.local.preparing import Preparing
from tuningfork.execution.local.probing import Probes
from tuningfork.execution.local.renderers import Renderers
from tuningfork.execution.local.same_bases import SameBases
from tuningfork.execution.local.savepoints import Savepoints
from tuningfork.execution.local.trainer_jobs import (
    Opening,
    RunningJob,
    checkpoint_kept,
    read_job,
    savepoints_of,
    settled,
    unwritten,
)
from tuningfork.modeling.loading import load_base
from tuningfork.training.engine import (
    EvaluationReport,
    ExamplesRefused,
    Report,
    StepReport,
    TrainingEngine,
    TrainingJob,
)
from tuningfork.training.reports import ExamplesUnrendered, TrainingDiverged, WeightsNotFinite
from tuningfork.training.same_base import BaseWeightsReplaced
from tuningfork.training.savepoint import SavepointDamaged, SavepointOverOtherWeights

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Trainer:
    """All jobs of this process. `obey` and `advance` yield the events to send to the server, each with its job."""

    artifacts: ArtifactStore
    renderers: Renderers | None = None
    """Render examples in processes of their own; None: they are rendered in this process."""
    retry_seconds: Sequence[float] = (10.0, 60.0, 610.0)
    """How long a job that has a savepoint waits before it is tried again, after each time in a row that its base could
    not be used. The last time is longer than a base is refused."""
    waits: Waits = field(default_factory=Waits)
    _engines: dict[BaseModel, TrainingEngine] = field(default_factory=dict)
    _same: SameBases = field(default_factory=SameBases)
    _jobs: dict[JobId, RunningJob] = field(default_factory=dict)
    _opening: dict[JobId, Opening] = field(default_factory=dict)
    """The jobs whose base is being read by a renderer, or that wait since they cannot be taken up at the moment."""
    _tries: dict[JobId, int] = field(default_factory=dict)
    """How often jobs have been tried again since their last step."""
    _preparing: Preparing = field(default_factory=Preparing)
    _probes: Probes = field(default_factory=Probes)
    _writers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="savepoints")
    )

    @property
    def idle(self) -> bool:
        """Whether there is no job, and no probe of how long steps take."""
        return not (self._jobs or self._opening) and self._probes.idle

    def obey(self, command: TrainerCommand) -> Iterator[TrainerMessage | Probed]:
        """Admit a job, note that one should stop or pause, or begin a probe.

        A probe is begun only over a base that is loaded, and if there is no job.
        """
        if isinstance(command, Probe):
            engine = self._engines.get(self._same.first(command.assignment.base))
            if engine is None or self._jobs or self._opening:
                yield Probed(command.request_id, None)
            else:
                yield from self._probes.begin(command, engine)
            return
        if isinstance(command, Stop | Pause):
            yield from self._end_opening(command)
            if job := self._jobs.get(command.job_id):
                job.stop_requested |= isinstance(command, Stop)
                job.pause_requested |= isinstance(command, Pause)
            return
        yield from self._probes.give_up()
        self._drop(command.assignment.job_id)
        yield from self._open(Opening(command.assignment))

    def _open(self, opening: Opening) -> Iterator[TrainerMessage]:
        """Admit a job, at once or after a renderer has read its base."""
        renderers, assignment = self.renderers, opening.assignment
        base = self._same.first(assignment.base)
        if base not in self._engines:
            yield LoadingBase(assignment.job_id, assignment.base.name)
        if renderers is None or renderers.is_ready(base):
            yield from self._admitted(opening)
            return
        self._opening[assignment.job_id] = opening
        self._preparing.begin(assignment.job_id, lambda: renderers.chat_of(base), place=base.name)

    def _end_opening(self, command: Stop | Pause) -> Iterator[JobEvent]:
        opening = self._opening.get(command.job_id)
        if opening is None:
            return
        if isinstance(command, Stop) and self._has_savepoint(opening.assignment):
            # Its adapter is to be kept, so it is stopped when it has been admitted.
            opening.stop_requested = True
            return
        del self._opening[command.job_id]
        self._preparing.forget(command.job_id)
        self.waits.forget(command.job_id)
        yield JobEvent(command.job_id, Stopped(adapter=None) if isinstance(command, Stop) else Paused())

    def _admitted(self, opening: Opening, fault: Exception | None = None) -> Iterator[TrainerMessage]:
        """Admit a job, or end it. `fault` is what has been found wrong with its base."""
        assignment = opening.assignment
        self._opening.pop(assignment.job_id, None)
        self._preparing.forget(assignment.job_id)
        try:
            if fault is not None:
                raise fault  # noqa: TRY301 - handled like an error of the admission
            job = self._admit(assignment)
        except ArtifactMissing as error:
            # The job was deleted after it was admitted; its events are ignored.
            logger.info("job %s is gone: %s", assignment.job_id, error.message, extra=assignment.labels("job_gone"))
            yield JobEvent(assignment.job_id, Failed(code=error.code, message=error.message))
        except PASSING as error:
            yield from self._wait_and_retry(opening, error)
        except (InternalError, BaseWeightsReplaced) as error:
            yield from self._held_up(opening, error)
        except TuningforkError as error:
            yield JobEvent(assignment.job_id, Failed(code=error.code, message=error.message))
        except Exception as error:
            logger.exception("job %s could not be admitted", assignment.job_id, extra=assignment.labels("admit_failed"))
            message = f"the trainer could not take the job up: {reason_of(error)}"
            yield JobEvent(assignment.job_id, Failed(code=Code.INTERNAL, message=message))
        else:
            self.waits.forget(assignment.job_id)
            job.stop_requested = opening.stop_requested
            yield JobEvent(assignment.job_id, job.resumed())
            for step in job.checkpoints.found(job.completed_steps):
                yield checkpoint_kept(job, step)

    def _wait_and_retry(self, opening: Opening, error: Exception) -> Iterator[TrainerMessage]:
        """Try again later to take the job up: what is in its way, one of `PASSING`, may be gone by then.

        The job keeps its savepoints. If it was cancelled and the longest wait has not helped, it ends without adapter.
        It fails if it has waited for memory long enough, unless its steps so far would be lost.
        """
        assignment, job_id = opening.assignment, opening.assignment.job_id
        gives_up = opening.stop_requested and self.waits.was_longest(job_id)
        patient = bool(self._jobs) or self._has_savepoint(assignment)
        seconds = None if gives_up else self.waits.next(job_id, error, patient=patient)
        if seconds is not None:
            obstacle = Obstacle.of(error)
            said = "job %s waits for %g s, since %s"
            logger.warning(said, job_id, seconds, obstacle.why, extra=assignment.labels(obstacle.action))
            yield HeldUp(job_id, obstacle.told)
            self._wait(opening, seconds)
            return
        self.waits.forget(job_id)
        if opening.stop_requested or not isinstance(error, TuningforkError):
            yield JobEvent(job_id, Stopped(adapter=None))
        else:
            yield JobEvent(job_id, self.waits.given_up(error))

    def _held_up(self, opening: Opening, error: TuningforkError) -> Iterator[TrainerMessage]:
        """Try a job again later that cannot go on at the moment, if it has a savepoint; else, or at last, end it."""
        assignment, job_id = opening.assignment, opening.assignment.job_id
        tries = self._tries.pop(job_id, 0)
        if tries < len(self.retry_seconds) and self._has_savepoint(assignment):
            seconds = self.retry_seconds[tries]
            said = f"cannot go on, and is tried again in {seconds:g} seconds: {error.message}"
            logger.warning("job %s %s", job_id, said, extra=assignment.labels("job_held_up"))
            self._tries[job_id] = tries + 1
            yield HeldUp(job_id, error.message)
            self._wait(opening, seconds)
        elif opening.stop_requested:
            yield JobEvent(job_id, Stopped(adapter=None))
        else:
            yield JobEvent(job_id, Failed(code=error.code, message=error.message))

    def _wait(self, opening: Opening, seconds: float) -> None:
        job_id = opening.assignment.job_id
        self._opening[job_id] = replace(opening, waits=True)
        self._preparing.wait(job_id, seconds)

    def _has_savepoint(self, assignment: TrainingAssignment) -> bool:
        return bool(self.artifacts.refs_below(savepoints_of(assignment)))

    def advance(self) -> Iterator[TrainerMessage | Probed]:
        """End jobs that were asked to stop or pause, then run one pass for each base that has jobs, or of a probe."""
        for prepared in self._preparing.finished(patient=not self._jobs):
            opening = self._opening[JobId(prepared.request_id)]
            if opening.waits:
                yield from self._open(replace(opening, waits=False))
            else:
                yield from self._admitted(opening, prepared.error)
        for job in [*self._jobs.values()]:
            if job.stop_requested:
                yield from self._end(job, self._kept(job, Stopped) if job.completed_steps else Stopped(adapter=None))
            elif job.pause_requested and job.engine.is_between_steps(job.assignment.job_id):
                yield from self._pause(job)
        for engine in {id(job.engine): job.engine for job in self._jobs.values()}.values():
            yield from self._pass(engine)
        yield from self._probes.advance()

    def _drop(self, job_id: JobId) -> None:
        """Drop the job without an event, if it is here already: the server admits it again, so it gave it up."""
        if self._opening.pop(job_id, None):
            self._preparing.forget(job_id)
        if job := self._jobs.get(job_id):
            labels = job.assignment.labels("job_admitted_again")
            logger.warning("job %s is admitted again", job_id, extra=labels)
            for _ in self._end(job, Paused()):
                pass

    def _admit(self, assignment: TrainingAssignment) -> RunningJob:
        engine = self._engine_for(self._same.first(assignment.base))
        with ExitStack() as read:
            training_job = read_job(self.artifacts, assignment, read)
            savepoints = Savepoints(
                name=assignment.job_id,
                artifacts=self.artifacts,
                place=savepoints_of(assignment),
                writers=self._writers,
                model=assignment.model,
                grid=SnapshotGrid.of(assignment.hyperparameters.total_steps(len(training_job.examples))),
            )
            completed_steps = self._begin(engine, training_job, savepoints)
        checkpoints = KeptCheckpoints(
            name=assignment.job_id,
            artifacts=self.artifacts,
            place=assignment.work.below("checkpoints"),
            writers=self._writers,
            model=assignment.model,
        )
        job = RunningJob(
            assignment, engine, completed_steps, savepoints, checkpoints, example_count=len(training_job.examples)
        )
        self._jobs[training_job.id] = job
        return job

    def _begin(self, engine: TrainingEngine, job: TrainingJob, savepoints: Savepoints) -> int:
        """Admit the job, from its last savepoint if it has one; returns its completed steps."""
        last = savepoints.last()
        if last is not None:
            try:
                with self.artifacts.reading(last, verified=True) as directory:
                    completed_steps = engine.admit(job, directory)
                    try:
                        savepoints.recall(directory, completed_steps)
                    except OSError:
                        engine.release(job.id)
                        raise
                    return completed_steps
            except SavepointOverOtherWeights as error:
                logger.warning("job %s starts over: %s", job.id, error.message, extra=savepoints.labels("starts_over"))
                savepoints.discard()
            except (SavepointDamaged, ArtifactDamaged):
                # With a damaged savepoint the job starts from its beginning, and ends with the same adapter.
                logger.exception("job %s starts over", job.id, extra=savepoints.labels("savepoint_damaged"))
                savepoints.discard()
        return engine.admit(job)

    def _engine_for(self, base: BaseModel) -> TrainingEngine:
        if base not in self._engines:
            busy = {id(job.engine) for job in self._jobs.values()}
            for idle in [known for known, engine in self._engines.items() if id(engine) not in busy]:
                del self._engines[idle]
                if self.renderers is not None:
                    self.renderers.close(idle)
            chat = self.renderers.chat_of(base) if self.renderers is not None else None
            try:
                loaded = load_base(base, chat=chat, **worker.loading_options())
            except BaseException:
                if self.renderers is not None:
                    self.renderers.close(base)
                raise
            engine = TrainingEngine(
                loaded, clock=lambda: datetime.now(UTC), max_jobs_per_step=None, monotonic=time.monotonic
            )
            self._engines[base] = engine
        return self._engines[base]

    def _pass(self, engine: TrainingEngine) -> Iterator[TrainerMessage]:
        try:
            reports = engine.advance()
        except (TrainingDiverged, ExamplesRefused, WeightsNotFinite) as error:
            # The engine has dropped this job; the others go on.
            job = self._jobs.pop(JobId(error.job_id))
            yield from settled(job)
            yield JobEvent(job.assignment.job_id, Failed(code=error.code, message=error.message))
            return
        except ExamplesUnrendered as error:
            yield from self._set_aside(self._jobs[JobId(error.job_id)], error)
            return
        for report in reports:
            yield from self._report(self._jobs[report.job_id], report)

    def _report(self, job: RunningJob, report: Report) -> Iterator[JobEvent]:
        if isinstance(report, EvaluationReport):
            yield JobEvent(report.job_id, Evaluated(evaluation=report.evaluation))
            job.note_evaluation(report.evaluation, is_last=report.done)
        else:
            yield from self._step(job, report)
        if report.done or (isinstance(report, EvaluationReport) and job.is_over):
            yield from self._end(job, self._kept(job, Finished))

    def _step(self, job: RunningJob, report: StepReport) -> Iterator[JobEvent]:
        assignment, step = job.assignment, report.snapshot.step
        job.completed_steps = step
        self._tries.pop(report.job_id, None)
        yield JobEvent(report.job_id, Stepped(snapshot=report.snapshot, tokens=report.tokens))
        job.savepoints.note(report.snapshot)
        if job.is_scheduled(step):
            job.checkpoints.keep(step, job.engine.adapter_writer(report.job_id))
        for kept in job.checkpoints.completed():
            yield checkpoint_kept(job, kept)
        every = assignment.savepoint_every
        if not report.done and every and step % every == 0 and not job.savepoints.busy:
            job.savepoints.save(job.engine.state(report.job_id))

    def _pause(self, job: RunningJob) -> Iterator[JobEvent]:
        if job.completed_steps > 0:
            job.savepoints.save(job.engine.state(job.assignment.job_id))
        yield from self._end(job, Paused())

    def _set_aside(self, job: RunningJob, error: ExamplesUnrendered) -> Iterator[TrainerMessage]:
        """Write a savepoint of a job that cannot go on at the moment, and see `_held_up`."""
        *checkpoints, paused = self._pause(job)
        yield from checkpoints
        if job.pause_requested:
            yield paused
        else:
            yield from self._held_up(Opening(job.assignment, job.stop_requested), error)

    def _kept(self, job: RunningJob, event: type[Finished | Stopped]) -> TrainingEvent:
        """Write the job's adapter; return an event of this class, or `Failed` if the adapter could not be written."""
        try:
            with self.artifacts.writing(job.adapter) as directory:
                job.engine.save_adapter(job.assignment.job_id, directory)
        except OSError as error:
            logger.exception(
                "job %s lost its adapter", job.assignment.job_id, extra=job.assignment.labels("adapter_failed")
            )
            return unwritten(error)
        return event(adapter=job.adapter)

    def _end(self, job: RunningJob, event: TrainingEvent) -> Iterator[JobEvent]:
        yield from settled(job)
        del self._jobs[job.assignment.job_id]
        job.engine.release(job.assignment.job_id)
        yield JobEvent(job.assignment.job_id, event)


if __name__ == "__main__":
    worker.step_back(worker.TRAINER_NICENESS)
    # The fork server has to be started before this process has other threads.
    of_bases = Renderers.of_this_process(int(sys.argv[1]), os.environ)
    worker.run(Trainer(artifacts_in(os.environ), of_bases))
