"""The events of tuning jobs: each change of a job's state, with its time and reason, as `tuning_jobs.move` wrote it."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from tuningfork.domain.job_detail import Transition
from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store.schema import job_events


def transitions_of(connection: Connection, job_id: JobId, most: int) -> Sequence[Transition]:
    """The last changes of a job's state, at most so many, the earliest first."""
    query = select(job_events).where(job_events.c.job_id == job_id).order_by(job_events.c.id.desc()).limit(most)
    found = [
        Transition(
            source=JobState(row["from_state"]),
            target=JobState(row["to_state"]),
            time=row["time"],
            reason=row["reason"],
        )
        for row in connection.execute(query).mappings()
    ]
    return found[::-1]


def restarts_of(connection: Connection, job_id: JobId) -> int:
    """How often a job has waited again after it had been given to a trainer."""
    again = (job_events.c.from_state == JobState.RUNNING.value) & (job_events.c.to_state == JobState.QUEUED.value)
    query = select(func.count()).select_from(job_events).where(job_events.c.job_id == job_id, again)
    return connection.execute(query).scalar_one()
