"""The jobs whose examples are still to be read from a bucket: which wait, which one a server takes, and their end.

A job in the state preparing that no server holds waits. See store/leases.py for claims.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob
from tuningfork.domain.turns import Tenant
from tuningfork.store import data_statistics, leases, training_options
from tuningfork.store import tuning_jobs as tuning_job_rows
from tuningfork.store.leases import Claim, ServerId
from tuningfork.store.schema import tuned_models, tuning_jobs

_IS_PREPARING = tuning_jobs.c.state == JobState.PREPARING.value


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A job that waits to be prepared, and what a server must have for that.

    Attributes:
        id: the job's id.
        tenant: on whose behalf it is prepared.
        base_model: the base's name, as it was given.
        resolved_base: the own name of the base that this name meant; None: of an earlier version, which kept none.
        has_source: whether it goes on from the adapter of a tuned model.

    """

    id: JobId
    tenant: Tenant
    base_model: BaseModelName
    resolved_base: BaseModelName | None
    has_source: bool


def waiting(connection: Connection) -> list[WaitingJob]:
    """The jobs that wait to be prepared, the oldest first."""
    columns = tuning_jobs.c
    further = (columns.base_model, columns.resolved_base, tuned_models.c.source.is_not(None).label("has_source"))
    query = tuning_job_rows.with_tenant(*further).join(tuned_models, tuned_models.c.id == columns.model_id)
    query = query.where(_IS_PREPARING, columns.held_by.is_(None)).order_by(columns.create_time, columns.id)
    return [
        WaitingJob(
            id=JobId(row.id),
            tenant=tuning_job_rows.tenant_in(row),
            base_model=BaseModelName(row.base_model),
            resolved_base=None if row.resolved_base is None else BaseModelName(row.resolved_base),
            has_source=row.has_source,
        )
        for row in connection.execute(query)
    ]


def take(connection: Connection, job_id: JobId, server: ServerId) -> Claim | None:
    """Make the server the holder of a waiting job; None: it does not wait any more, or another server is taking it."""
    query = select(tuning_jobs.c.id).where(tuning_jobs.c.id == job_id, _IS_PREPARING, tuning_jobs.c.held_by.is_(None))
    if connection.execute(query.with_for_update(skip_locked=True)).first() is None:
        return None
    counted = tuning_jobs.update().where(tuning_jobs.c.id == job_id)
    connection.execute(counted.values(attempts=tuning_jobs.c.attempts + 1))
    return leases.take(connection, job_id, server)


def release(connection: Connection, job_id: JobId) -> None:
    """Let a job wait again. The caller holds it (`leases.hold`)."""
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, _IS_PREPARING)
    connection.execute(change.values(held_by=None))


def note_unread(connection: Connection, job: TuningJob) -> None:
    """Write what is known of files of a job that cannot be read. The caller holds the job (`leases.hold`)."""
    change = tuning_jobs.update().where(tuning_jobs.c.id == job.id, _IS_PREPARING)
    connection.execute(change.values(training_options=training_options.options_of(job)))


def note_prepared(connection: Connection, job: TuningJob) -> None:
    """Write what is known of a job since its dataset has been written. The caller holds it (`leases.hold`)."""
    used = job.hyperparameters
    values = {
        "held_by": None,
        "attempts": 0,
        "epoch_count": used.epoch_count,
        "batch_size": used.batch_size,
        "learning_rate": used.learning_rate,
        "learning_rate_multiplier": used.learning_rate_multiplier,
        "example_count": job.example_count,
        "seed": job.seed,
        "training_options": training_options.options_of(job),
        "data_statistics": data_statistics.written(job.data_statistics),
    }
    connection.execute(tuning_jobs.update().where(tuning_jobs.c.id == job.id).values(values))
