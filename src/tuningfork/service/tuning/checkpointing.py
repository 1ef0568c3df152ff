"""Which checkpoints a job has: those kept during training, and its last weights. One is its model's default.

The functions that write are called in the transaction of a caller that has locked the job. They write only rows: the
artifact of a checkpoint is stored before its row is written.
"""

from collections.abc import Sequence

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.early_stopping import best_of
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId, TuningJob
from tuningfork.store import checkpoints, evaluations, snapshots, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Transaction


def is_wanted(job: TuningJob, evaluated: Sequence[Evaluation], step: int) -> bool:
    """Whether a job keeps the checkpoint of this step, after these evaluations.

    A job that keeps its best checkpoint keeps that one, and those that are on its schedule.
    """
    best = best_of(evaluated)
    is_best = best is not None and best.step == step
    return not job.keep_best or is_best or job.checkpoints.is_due(step, job.hyperparameters, job.example_count)


def record_kept(
    connection: Transaction, job: TuningJob, step: int, epoch: int, artifact: ArtifactRef
) -> tuple[ArtifactRef, ...]:
    """Record a checkpoint of a running job, unless the checkpoint of this step is recorded already.

    Returns:
        The artifacts of earlier checkpoints that are not recorded any more, since the new one is better.

    """
    if checkpoints.has_checkpoint(connection, job.id, step):
        return ()
    mean_loss = snapshots.mean_loss_at(connection, job.id, step)
    checkpoints.add_checkpoint(
        connection, job.id, step=step, epoch=epoch, artifact=artifact.key, metrics=_metrics(mean_loss)
    )
    evaluated = evaluations.evaluations_of(connection, job.id)
    return _drop_unwanted(connection, job, evaluated, besides=step)


def record_last(connection: Transaction, job: TuningJob, artifact: ArtifactRef) -> None:
    """Record the weights with which a job ends as its last checkpoint, and choose its model's default.

    The default is the last checkpoint, or, for a job that keeps its best one, that with the lowest validation loss. The
    last checkpoint replaces one of the same step, which exists if a job is cancelled right after the checkpoint.
    """
    step = job.completed_steps
    checkpoints.drop_checkpoints(connection, job.id, after_step=step - 1)
    last = checkpoints.add_checkpoint(
        connection,
        job.id,
        step=step,
        epoch=job.hyperparameters.completed_epochs(step, job.example_count),
        artifact=artifact.key,
        metrics=_metrics(job.last_loss),
    )
    default = last
    if job.keep_best:
        evaluated = evaluations.evaluations_of(connection, job.id)
        default = best_among(checkpoints.checkpoints_of(connection, job.id), evaluated) or last
        kept = best_of([each for each in evaluated if each.step == default.step])
        _drop_unwanted(connection, job, [kept] if kept else (), besides=step)
    checkpoints.set_default(connection, job.model_id, default.number)


def best_among(kept: Sequence[Checkpoint], evaluated: Sequence[Evaluation]) -> Checkpoint | None:
    """The checkpoint with the lowest validation loss; of equal ones the earliest. None if none was evaluated."""
    by_step = {each.step: each for each in kept}
    best = best_of([each for each in evaluated if each.step in by_step])
    return None if best is None else by_step[best.step]


def adapter_of(connection: Transaction, artifacts: Artifacts, model_id: TunedModelId) -> ArtifactRef:
    """The adapter of a tuned model's default checkpoint; if it has none yet, that with which its job will end."""
    default = checkpoints.find_checkpoint(connection, model_id)
    if default is None:
        return artifacts.adapter(tuning_jobs.id_of_model(connection, model_id))
    return ArtifactRef(default.artifact)


def forget_all(connection: Transaction, job_id: JobId) -> None:
    """Remove the checkpoints of a job whose model will never be ACTIVE."""
    checkpoints.drop_checkpoints(connection, job_id, after_step=-1)


def _drop_unwanted(
    connection: Transaction, job: TuningJob, evaluated: Sequence[Evaluation], *, besides: int
) -> tuple[ArtifactRef, ...]:
    """Remove the rows of checkpoints that the job does not keep, besides that of one step; returns their artifacts."""
    dropped = []
    for each in checkpoints.checkpoints_of(connection, job.id):
        if each.step != besides and not is_wanted(job, evaluated, each.step):
            checkpoints.drop_checkpoint(connection, job.id, each.number)
            dropped.append(ArtifactRef(each.artifact))
    return tuple(dropped)


def _metrics(mean_loss: float | None) -> dict[str, float]:
    return {} if mean_loss is None else {"mean_loss": mean_loss}
