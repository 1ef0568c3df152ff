"""Models and jobs for tests of the store, made by name."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.errors import Code
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.ids import number_of
from tuningfork.domain.permission import Email, GranteeType, Permission, PermissionId, Role
from tuningfork.domain.snapshot_grid import SnapshotGrid
from tuningfork.domain.tuned_model import ModelState, TunedModel, TunedModelId
from tuningfork.domain.tuning_job import JobError, JobId, JobState, TuningJob
from tuningfork.store import access, schema, tuned_models, tuning_jobs
from tuningfork.store.database import Database

NOW = datetime(2024, 3, 14, 15, 9, 4, tzinfo=UTC)
ECHO = BaseModelName("models/echo-001")


def model(name: str, *, create_time: datetime = NOW, **texts: str) -> TunedModel:
    return TunedModel(
        id=TunedModelId(name),
        number=number_of(name),
        base_model=ECHO,
        state=ModelState.CREATING,
        create_time=create_time,
        update_time=create_time,
        temperature=0.7,
        top_p=0.95,
        top_k=None,
        reader_project_numbers=(2**62, 7),
        **texts,
    )


def new_job(name: str, *, create_time: datetime = NOW, learning_rate_multiplier: float | None = None) -> TuningJob:
    return TuningJob(
        id=JobId(f"{name}-job"),
        model_id=TunedModelId(name),
        base_model=ECHO,
        state=JobState.QUEUED,
        hyperparameters=Hyperparameters(
            epoch_count=5, batch_size=4, learning_rate=0.001, learning_rate_multiplier=learning_rate_multiplier
        ),
        adapter=AdapterShape(rank=8, alpha=32.0),
        example_count=15,
        seed=2**32 - 1,
        create_time=create_time,
    )


def grant(
    name: str, email: str | None, role: Role = Role.OWNER, grantee_type: GranteeType = GranteeType.USER
) -> Permission:
    """A permission on the model; without an address, for everyone."""
    return Permission(
        id=PermissionId((email or "everyone").partition("@")[0]),
        model_id=TunedModelId(name),
        grantee_type=grantee_type if email else GranteeType.EVERYONE,
        email=Email(email) if email else None,
        role=role,
    )


def keep(database: Database, job: TuningJob) -> TuningJob:
    """Insert the job with its model, which Ada owns."""
    with database.write() as connection:
        tuned_models.insert(connection, model(job.model_id, create_time=job.create_time))
        tuning_jobs.insert(connection, job)
        access.grant(connection, grant(job.model_id, "ada@example.com"))
    return job


def rows_of(job: TuningJob, steps: Iterable[int]) -> list[dict[str, object]]:
    """The rows of snapshots of these steps."""
    return [
        {
            "job_id": job.id,
            "step": step,
            "epoch": step // 1_000,
            "mean_loss": 2.0 / step + 0.123456789,
            "compute_time": NOW + timedelta(microseconds=123_457 * step),
        }
        for step in steps
    ]


def long_job(database: Database, steps: int, *, state: JobState = JobState.RUNNING) -> TuningJob:
    """Ada's model `long`, made by a job of so many steps, all of them taken."""
    made = new_job("long")
    used = replace(made.hyperparameters, epoch_count=1, batch_size=1)
    job = keep(database, replace(made, example_count=steps, hyperparameters=used))
    grid = SnapshotGrid.of(steps)
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        connection.execute(schema.snapshots.insert(), rows_of(job, [*filter(grid.holds, range(1, steps)), steps]))
        connection.execute(schema.tuning_jobs.update().values(completed_steps=steps, furthest_step=steps))
        if state is not JobState.RUNNING:
            tuning_jobs.move(connection, job.id, state, NOW, error=JobError(code=Code.INTERNAL, message="made up"))
    return job
