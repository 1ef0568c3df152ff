"""The trainer: a process that holds base models and advances tuning jobs over them, step by step.

Run by `execution/local.py` as `python -m tuningfork.execution.trainer_process FD`.
"""

import errno
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import InternalError, RpcCode, TuningforkError
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution import worker
from tuningfork.execution.base import (
    Failed,
    Finished,
    Resumed,
    Stepped,
    Stopped,
    TrainingAssignment,
    TrainingEvent,
    read_dataset,
)
from tuningfork.execution.checkpoints import Checkpoints
from tuningfork.execution.messages import JobEvent, Stop, TrainerCommand
from tuningfork.execution.step_log import StepLog
from tuningfork.modeling.loading import load_base
from tuningfork.training.engine import StepReport, TrainingDiverged, TrainingEngine, TrainingJob
from tuningfork.training.sharing import jobs_per_pass

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """An admitted job: what was asked, and how far it is."""

    assignment: TrainingAssignment
    engine: TrainingEngine
    completed_steps: int
    checkpoints: Checkpoints
    stop_requested: bool = False

    @property
    def adapter_directory(self) -> Path:
        return self.assignment.work_directory / "adapter"


@dataclass(slots=True)
class Trainer:
    """All jobs of this process. Every public method yields the events that it caused, each with its job."""

    _engines: dict[BaseModel, TrainingEngine] = field(default_factory=dict)
    _runs: dict[JobId, _Run] = field(default_factory=dict)
    _writers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
    )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to step."""
        return not self._runs

    def obey(self, command: TrainerCommand) -> Iterator[JobEvent]:
        """Admit a job, or note that one should stop."""
        if isinstance(command, Stop):
            if run := self._runs.get(command.job_id):
                run.stop_requested = True
            return
        assignment = command.assignment
        try:
            run = self._admit(assignment)
        except TuningforkError as error:
            yield JobEvent(assignment.job_id, Failed(code=error.code, message=error.message))
        except Exception as error:
            logger.exception("job %s could not be admitted", assignment.job_id, extra={"action": "admit_failed"})
            message = f"the trainer could not take the job up: {type(error).__name__}: {error}"
            yield JobEvent(assignment.job_id, Failed(code=RpcCode.INTERNAL, message=message))
        else:
            kept = run.checkpoints.log.read(run.completed_steps)
            yield JobEvent(assignment.job_id, Resumed(step=run.completed_steps, snapshots=kept))

    def advance(self) -> Iterator[JobEvent]:
        """Let stopped jobs go, then make one pass over each base that has jobs."""
        for run in [run for run in self._runs.values() if run.stop_requested]:
            yield self._end(run, self._kept(run, Stopped) if run.completed_steps else Stopped(adapter_directory=None))
        for engine in {id(run.engine): run.engine for run in self._runs.values()}.values():
            yield from self._pass(engine)

    def _admit(self, assignment: TrainingAssignment) -> _Run:
        engine = self._engine_for(assignment.base)
        job = TrainingJob(
            id=assignment.job_id,
            examples=read_dataset(assignment.dataset_path),
            hyperparameters=assignment.hyperparameters,
            adapter=assignment.adapter,
            seed=assignment.seed,
            initial_adapter=assignment.initial_adapter,
        )
        checkpoints = Checkpoints(
            name=assignment.job_id,
            directory=assignment.work_directory / "checkpoint",
            log=StepLog(assignment.work_directory / "steps.jsonl"),
            writers=self._writers,
        )
        run = _Run(assignment, engine, completed_steps=0, checkpoints=checkpoints)
        try:
            run.completed_steps = engine.admit(job, checkpoints.directory)
        except InternalError:
            # A damaged checkpoint costs its steps, not the job: from its start it ends with the same adapter.
            logger.exception("job %s starts over", job.id, extra={"action": "checkpoint_damaged"})
            shutil.rmtree(checkpoints.directory)
            run.completed_steps = engine.admit(job, checkpoints.directory)
        self._runs[job.id] = run
        return run

    def _engine_for(self, base: BaseModel) -> TrainingEngine:
        if base not in self._engines:
            busy = {id(run.engine) for run in self._runs.values()}
            self._engines = {known: engine for known, engine in self._engines.items() if id(engine) in busy}
            loaded = load_base(base, device=worker.best_device())
            engine = TrainingEngine(loaded, clock=lambda: datetime.now(UTC), max_jobs_per_step=jobs_per_pass(loaded))
            self._engines[base] = engine
        return self._engines[base]

    def _pass(self, engine: TrainingEngine) -> Iterator[JobEvent]:
        try:
            reports = engine.advance()
        except TrainingDiverged as error:
            # The engine has dropped the job; the others go on.
            run = self._runs.pop(JobId(error.job_id))
            run.checkpoints.settle()
            yield JobEvent(run.assignment.job_id, Failed(code=error.code, message=error.message))
            return
        for report in reports:
            yield from self._report(self._runs[report.job_id], report)

    def _report(self, run: _Run, report: StepReport) -> Iterator[JobEvent]:
        run.completed_steps = report.snapshot.step
        yield JobEvent(report.job_id, Stepped(snapshot=report.snapshot, tokens=report.tokens))
        run.checkpoints.note(report.snapshot)
        every = run.assignment.checkpoint_every
        if report.done:
            yield self._end(run, self._kept(run, Finished))
        elif every and report.snapshot.step % every == 0 and not run.checkpoints.busy:
            run.checkpoints.save(run.engine.state(report.job_id))

    def _kept(self, run: _Run, event: type[Finished | Stopped]) -> TrainingEvent:
        """The event with which the job leaves its adapter behind."""
        try:
            run.engine.save_adapter(run.assignment.job_id, run.adapter_directory)
        except OSError as error:
            logger.exception("job %s lost its adapter", run.assignment.job_id, extra={"action": "adapter_failed"})
            return unwritten(error)
        return event(adapter_directory=run.adapter_directory)

    def _end(self, run: _Run, event: TrainingEvent) -> JobEvent:
        # Whoever hears that the job has ended may move its directory.
        run.checkpoints.settle()
        del self._runs[run.assignment.job_id]
        run.engine.release(run.assignment.job_id)
        return JobEvent(run.assignment.job_id, event)


def unwritten(error: OSError) -> Failed:
    """How a job ends whose adapter could not be written; a disk that is full is no reason to end for good."""
    said = f"the adapter could not be written at the end of the training ({error})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(code=RpcCode.RESOURCE_EXHAUSTED, message=said)
    return Failed(code=RpcCode.INTERNAL, message=f"{said}; tune again")


if __name__ == "__main__":
    worker.run(Trainer())
