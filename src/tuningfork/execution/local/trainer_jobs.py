"""The jobs of a trainer: what it knows of each, and how it reads one."""

import errno
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing, ArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.early_stopping import best_of, improvements
from tuningfork.domain.errors import Code
from tuningfork.domain.evaluation import Evaluation
from tuningfork.execution.base import CheckpointKept, Failed, Resumed, TrainingAssignment
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.execution.local.checkpoints import KeptCheckpoints
from tuningfork.execution.local.messages import JobEvent
from tuningfork.execution.local.savepoints import Savepoints
from tuningfork.training.engine import TrainingEngine, TrainingJob
from tuningfork.training.initial_weights import SourceDamaged
from tuningfork.training.jobs import Validation

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RunningJob:
    """An admitted job: its assignment and its progress."""

    assignment: TrainingAssignment
    engine: TrainingEngine
    completed_steps: int
    savepoints: Savepoints
    checkpoints: KeptCheckpoints
    example_count: int
    stop_requested: bool = False
    pause_requested: bool = False

    @property
    def adapter(self) -> ArtifactRef:
        """Where the job's adapter is written when it ends."""
        return self.assignment.work.below("adapter")

    def resumed(self) -> Resumed:
        """From where the job goes on."""
        snapshots, evaluations = tuple(self.savepoints.snapshots), tuple(self.savepoints.evaluations)
        return Resumed(step=self.completed_steps, snapshots=snapshots, evaluations=evaluations)

    @property
    def is_over(self) -> bool:
        """Whether the job stops early now, after its last evaluation."""
        stopping = self.assignment.early_stopping
        return stopping is not None and stopping.is_over(self.savepoints.evaluations)

    def is_scheduled(self, step: int) -> bool:
        """Whether the job keeps the checkpoint of this step whatever its evaluations are."""
        return self.assignment.checkpoints.is_due(step, self.assignment.hyperparameters, self.example_count)

    def note_evaluation(self, evaluation: Evaluation, *, is_last: bool) -> None:
        """Note an evaluation of the weights that the job has now; keep the weights if no others were better.

        The weights with which a job ends are kept in any case, so `is_last` has no checkpoint.
        """
        self.savepoints.note_evaluation(evaluation)
        if not self.assignment.keep_best:
            return
        best = best_of(self.savepoints.evaluations)
        if best == evaluation and not is_last and not self.is_scheduled(evaluation.step):
            self.checkpoints.give_up(self.is_scheduled)
            self.checkpoints.keep(evaluation.step, self.engine.adapter_writer(self.assignment.job_id))
        self._drop_superseded()

    def _drop_superseded(self) -> None:
        """Remove checkpoints that are not the best any more, also not for a trainer that resumes from the savepoint.

        The best one may still be written. Until it is complete, the best complete one is needed.
        """
        evaluations = self.savepoints.evaluations
        try:
            resumes_from = self.savepoints.last_step()
            at_savepoint = best_of([each for each in evaluations if each.step <= resumes_from])
            found = self.checkpoints.found(self.completed_steps)
            complete = [each.step for each in improvements(evaluations) if each.step in found]
            needed = {*complete[-1:], *([at_savepoint.step] if at_savepoint else [])}
            for step in found if complete else ():
                if step not in needed and not self.is_scheduled(step):
                    self.checkpoints.drop(step)
        except OSError:
            said = "job %s keeps an earlier checkpoint, which could not be removed"
            labels = self.assignment.labels("checkpoint_left")
            logger.warning(said, self.assignment.job_id, exc_info=True, extra=labels)


@dataclass(slots=True)
class Opening:
    """A job whose base is being read by a renderer, or that `waits` for some time before it is tried again."""

    assignment: TrainingAssignment
    stop_requested: bool = False
    waits: bool = False


def savepoints_of(assignment: TrainingAssignment) -> ArtifactRef:
    """The reference below which the job's savepoints are kept."""
    return assignment.work.below("savepoints")


def read_job(artifacts: ArtifactStore, assignment: TrainingAssignment, read: ExitStack) -> TrainingJob:
    """The job as the engine needs it. It reads files that are only sure to stay in place until `read` is closed."""
    examples = DatasetFile(read.enter_context(artifacts.reading(assignment.dataset)))
    initial = validation = None
    if assignment.validation is not None:
        held_out = DatasetFile(read.enter_context(artifacts.reading(assignment.validation)))
        validation = Validation(examples=held_out, every=assignment.evaluate_every)
    if assignment.initial_adapter is not None:
        try:
            initial = read.enter_context(artifacts.reading(assignment.initial_adapter, verified=True))
        except (ArtifactMissing, ArtifactDamaged) as error:
            logger.exception(
                "job %s lacks the adapter to go on from", assignment.job_id, extra={"action": "source_damaged"}
            )
            is_missing = isinstance(error, ArtifactMissing)
            raise SourceDamaged("it is missing" if is_missing else "its files are not those written") from error
    return TrainingJob(
        id=assignment.job_id,
        examples=examples,
        dataset_digest=examples.digest,
        hyperparameters=assignment.hyperparameters,
        adapter=assignment.adapter,
        seed=assignment.seed,
        initial_adapter=initial,
        validation=validation,
        owner=assignment.owner,
    )


def unwritten(error: OSError) -> Failed:
    """The failure of a job whose adapter could not be written; RESOURCE_EXHAUSTED if the disk is full."""
    said = f"the adapter could not be written at the end of the training ({error})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(code=Code.RESOURCE_EXHAUSTED, message=said)
    return Failed(code=Code.INTERNAL, message=f"{said}; tune again")


def checkpoint_kept(job: RunningJob, step: int) -> JobEvent:
    """The event that reports the complete checkpoint of this step."""
    epoch = job.assignment.hyperparameters.completed_epochs(step, job.example_count)
    return JobEvent(job.assignment.job_id, CheckpointKept(step=step, epoch=epoch, adapter=job.checkpoints.ref(step)))


def settled(job: RunningJob) -> Iterator[JobEvent]:
    """Wait until all writes of the job's files are done, since the server may move the files of an ended job."""
    job.savepoints.settle()
    for kept in job.checkpoints.completed(wait=True):
        yield checkpoint_kept(job, kept)
