"""The table of checkpoints: their artifacts and metrics, and which one a model answers with."""

from collections.abc import Mapping

from sqlalchemy import Connection, RowMapping, func, select

from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId
from tuningfork.store.schema import checkpoints, tuned_models, tuning_jobs


def add_checkpoint(
    connection: Connection, job_id: JobId, *, step: int, epoch: int, artifact: str, metrics: Mapping[str, float]
) -> Checkpoint:
    """Add a checkpoint under the job's next number. The caller holds the job (`leases.hold`)."""
    highest = select(func.coalesce(func.max(checkpoints.c.number), 0)).where(checkpoints.c.job_id == job_id)
    number = connection.execute(highest).scalar_one() + 1
    made = Checkpoint(job_id=job_id, number=number, step=step, epoch=epoch, artifact=artifact, metrics=dict(metrics))
    row = {"job_id": job_id, "number": number, "step": step, "epoch": epoch, "artifact": artifact}
    row["endpoint"] = made.endpoint
    connection.execute(checkpoints.insert(), {**row, "metrics": made.metrics})
    return made


def checkpoints_of(connection: Connection, job_id: JobId) -> tuple[Checkpoint, ...]:
    """All checkpoints of a job in the order of their numbers; empty if it has none or does not exist."""
    query = select(checkpoints).where(checkpoints.c.job_id == job_id).order_by(checkpoints.c.number)
    return tuple(checkpoint_of(row) for row in connection.execute(query).mappings())


def find_checkpoint(connection: Connection, model_id: TunedModelId, number: int | None = None) -> Checkpoint | None:
    """The checkpoint of a tuned model with this number (None: its default one); None if there is none."""
    wanted = tuned_models.c.default_checkpoint if number is None else number
    query = (
        select(checkpoints)
        .join(tuning_jobs, tuning_jobs.c.id == checkpoints.c.job_id)
        .join(tuned_models, tuned_models.c.id == tuning_jobs.c.model_id)
        .where(tuned_models.c.id == model_id, checkpoints.c.number == wanted)
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else checkpoint_of(row)


def has_checkpoint(connection: Connection, job_id: JobId, step: int) -> bool:
    """Whether a job has a checkpoint of this step."""
    query = select(checkpoints.c.number).where(checkpoints.c.job_id == job_id, checkpoints.c.step == step)
    return connection.execute(query).first() is not None


def drop_checkpoints(connection: Connection, job_id: JobId, *, after_step: int) -> None:
    """Remove the checkpoints of steps after this one, which a resumed job will write again."""
    later = checkpoints.c.step > after_step
    connection.execute(checkpoints.delete().where(checkpoints.c.job_id == job_id, later))


def drop_checkpoint(connection: Connection, job_id: JobId, number: int) -> None:
    """Remove the checkpoint with this number."""
    connection.execute(checkpoints.delete().where(checkpoints.c.job_id == job_id, checkpoints.c.number == number))


def set_default(connection: Connection, model_id: TunedModelId, number: int) -> None:
    """Make the checkpoint with this number the model's default."""
    change = tuned_models.update().where(tuned_models.c.id == model_id)
    connection.execute(change.values(default_checkpoint=number))


def checkpoint_of(row: RowMapping) -> Checkpoint:
    """The checkpoint of a row of the table."""
    return Checkpoint(
        job_id=JobId(row["job_id"]),
        number=row["number"],
        step=row["step"],
        epoch=row["epoch"],
        artifact=row["artifact"],
        metrics=row["metrics"],
        has_endpoint=row["endpoint"] is not None,
        is_deployed=row["deployed"],
    )
