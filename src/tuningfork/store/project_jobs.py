"""Counts the tuning jobs of projects."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, select

from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store.database import lock_name
from tuningfork.store.schema import tuning_jobs


def count_unfinished(connection: Connection, project: str) -> int:
    """How many jobs of this project have not ended.

    A concurrent transaction that counts the jobs of the same project waits until this one ends.
    """
    lock_name(connection, f"jobs of project {project}")
    unfinished = [state.value for state in JobState if not state.is_final]
    query = select(func.count()).where(tuning_jobs.c.project == project, tuning_jobs.c.state.in_(unfinished))
    return connection.execute(query).scalar_one()


def count_running_of(connection: Connection, project: str) -> int:
    """How many jobs of this project are running. Concurrent transactions wait as in `count_unfinished`."""
    lock_name(connection, f"jobs of project {project}")
    query = select(func.count()).where(tuning_jobs.c.project == project, tuning_jobs.c.state == JobState.RUNNING.value)
    return connection.execute(query).scalar_one()


def count_running(connection: Connection) -> Mapping[str, int]:
    """How many jobs of each project are running."""
    query = select(tuning_jobs.c.project, func.count()).where(tuning_jobs.c.state == JobState.RUNNING.value)
    return {row[0]: row[1] for row in connection.execute(query.group_by(tuning_jobs.c.project))}


def projects_of(connection: Connection, job_ids: Collection[JobId]) -> Mapping[JobId, str]:
    """The project of each of these jobs."""
    rows = connection.execute(select(tuning_jobs.c.id, tuning_jobs.c.project).where(tuning_jobs.c.id.in_(job_ids)))
    return {JobId(row.id): row.project for row in rows}
