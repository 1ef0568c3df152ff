"""Suspects: jobs that may be the reason why a trainer died, and are trained alone until they have proved harmless.

When a trainer dies that has several jobs (a shared death), each of them becomes a suspect of this death. A suspect is
cleared when it completes a step beyond the furthest that it had reported. After each further shared death the job is
trained alone for four times as many steps, up to 64, so that jobs that end a trainer only when they are trained
together are soon separated. Shared deaths are forgotten after 256 further steps. When one job is found to be the
reason, the other suspects of the same death are cleared.
"""

from collections.abc import Collection

from sqlalchemy import Connection, select

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store.schema import is_over, suspects, tuning_jobs

_GROWTH = 4
_MOST_GROWTHS = 3
"""After its fourth shared death a job is trained alone for 64 steps, and after each further one for as many. Without a
bound, the others would wait for a whole job after some bad days."""

_FORGOTTEN_AFTER_STEPS = 256
"""The shared deaths of a job that has made so many steps since it was last trained alone are not counted any more."""


def accuse(connection: Connection, job_id: JobId, death: str, *, shared: bool) -> None:
    """Make the job a suspect of its trainer's death. The caller has locked the job (`leases.hold`).

    Args:
        connection: the transaction.
        job_id: the job.
        death: the id of the death; the same for all jobs of the trainer.
        shared: whether the trainer had other jobs. If not, an earlier shared death remains the job's death.

    """
    furthest = select(tuning_jobs.c.furthest_step).where(tuning_jobs.c.id == job_id)
    step = connection.execute(furthest).scalar_one()
    row = connection.execute(select(suspects).where(suspects.c.job_id == job_id)).first()
    recent = row if row is not None and step - row.alone_until_step < _FORGOTTEN_AFTER_STEPS else None
    deaths = (0 if recent is None else recent.shared_deaths) + shared
    alone_steps = _GROWTH ** min(max(deaths - 1, 0), _MOST_GROWTHS) if shared else 1
    values = {
        "death": death if shared or row is None else row.death,
        "shared_deaths": deaths,
        "alone_until_step": max(step + alone_steps, 0 if row is None else row.alone_until_step),
    }
    if row is None:
        connection.execute(suspects.insert(), {"job_id": job_id, **values})
    else:
        connection.execute(suspects.update().where(suspects.c.job_id == job_id).values(values))


def close_case(connection: Connection, job_id: JobId) -> None:
    """Clear all suspects of the death of which this job is a suspect, since this job is found to be the reason."""
    death = select(suspects.c.death).where(suspects.c.job_id == job_id).scalar_subquery()
    connection.execute(suspects.delete().where(suspects.c.death == death))


def queued(
    connection: Connection, base_models: Collection[BaseModelName], aliases: Collection[BaseModelName] = ()
) -> list[JobId]:
    """The queued suspects over one of these bases, those with the fewest steps first, of these the newest first.

    A job that has run for long is less likely to be the reason.
    """
    query = (
        select(tuning_jobs.c.id)
        .join(suspects, suspects.c.job_id == tuning_jobs.c.id)
        .where(
            tuning_jobs.c.state == JobState.QUEUED.value,
            is_over(base_models, aliases),
            tuning_jobs.c.furthest_step < suspects.c.alone_until_step,
        )
        .order_by(tuning_jobs.c.furthest_step, tuning_jobs.c.create_time.desc(), tuning_jobs.c.id)
    )
    return [JobId(row.id) for row in connection.execute(query)]


def among(connection: Connection, job_ids: Collection[JobId]) -> set[JobId]:
    """The suspects among these jobs, whatever their state."""
    query = (
        select(tuning_jobs.c.id)
        .join(suspects, suspects.c.job_id == tuning_jobs.c.id)
        .where(tuning_jobs.c.id.in_(job_ids), tuning_jobs.c.furthest_step < suspects.c.alone_until_step)
    )
    return {JobId(row.id) for row in connection.execute(query)}
