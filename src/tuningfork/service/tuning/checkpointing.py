"""Which checkpoints a job has: those kept during training, and its last weights, which are its model's default.

The functions that write are called in the transaction of a caller that has locked the job. They write only rows: the
artifact of a checkpoint is stored before its row is written.
"""

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId, TuningJob
from tuningfork.store import checkpoints, snapshots, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Transaction


def record_kept(connection: Transaction, job_id: JobId, step: int, epoch: int, artifact: ArtifactRef) -> None:
    """Record a checkpoint of a running job, unless the checkpoint of this step is recorded already."""
    if checkpoints.has_checkpoint(connection, job_id, step):
        return
    mean_loss = snapshots.mean_loss_at(connection, job_id, step)
    checkpoints.add_checkpoint(
        connection, job_id, step=step, epoch=epoch, artifact=artifact.key, metrics=_metrics(mean_loss)
    )


def record_last(connection: Transaction, job: TuningJob, artifact: ArtifactRef) -> None:
    """Record the weights with which a job ends as its last checkpoint, and make it the model's default.

    It replaces a checkpoint of the same step, which exists if a job is cancelled right after the checkpoint.
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
    checkpoints.set_default(connection, job.model_id, last.number)


def adapter_of(connection: Transaction, artifacts: Artifacts, model_id: TunedModelId) -> ArtifactRef:
    """The adapter of a tuned model's default checkpoint; if it has none yet, that with which its job will end."""
    default = checkpoints.find_checkpoint(connection, model_id)
    if default is None:
        return artifacts.adapter(tuning_jobs.id_of_model(connection, model_id))
    return ArtifactRef(default.artifact)


def forget_all(connection: Transaction, job_id: JobId) -> None:
    """Remove the checkpoints of a job whose model will never be ACTIVE."""
    checkpoints.drop_checkpoints(connection, job_id, after_step=-1)


def _metrics(mean_loss: float | None) -> dict[str, float]:
    return {} if mean_loss is None else {"mean_loss": mean_loss}
