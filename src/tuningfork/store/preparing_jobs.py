"""The jobs whose examples are still to be read from a bucket: which wait, which one a server takes, and their end.

A job in the state preparing that no server holds waits. See store/leases.py for claims.
"""

from sqlalchemy import Connection, and_, select

from tuningfork.domain.permission import Role
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob
from tuningfork.store import data_statistics, leases, training_options
from tuningfork.store.leases import Claim, ServerId
from tuningfork.store.schema import permissions, tuning_jobs

_IS_PREPARING = tuning_jobs.c.state == JobState.PREPARING.value


def waiting(connection: Connection) -> list[tuple[JobId, str]]:
    """The jobs that wait to be prepared, the oldest first, each with the address of its model's owner; "": nobody."""
    is_owner = and_(permissions.c.model_id == tuning_jobs.c.model_id, permissions.c.role == Role.OWNER.value)
    query = select(tuning_jobs.c.id, permissions.c.email).select_from(tuning_jobs.outerjoin(permissions, is_owner))
    query = query.where(_IS_PREPARING, tuning_jobs.c.held_by.is_(None))
    query = query.order_by(tuning_jobs.c.create_time, tuning_jobs.c.id)
    return [(JobId(row.id), row.email or "") for row in connection.execute(query)]


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
