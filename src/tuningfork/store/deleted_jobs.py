"""The table of deleted jobs, whose files may be removed from every data directory."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from tuningfork.domain.tuning_job import JobId
from tuningfork.store.schema import deleted_jobs

_IDS_IN_A_QUERY = 500
"""The most ids in one statement, since SQLite allows about a thousand parameters."""


def note(connection: Connection, job_id: JobId, time: datetime) -> None:
    """Record that the job was deleted, in the transaction that deletes its row."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = dialect.insert(deleted_jobs).values(job_id=job_id, delete_time=time)
    # Ids are random, so an id is hardly ever used twice.
    connection.execute(row.on_conflict_do_nothing())


def among(connection: Connection, job_ids: Collection[JobId]) -> set[JobId]:
    """Those of these jobs that were deleted."""
    found: set[JobId] = set()
    asked = sorted(job_ids)
    for first in range(0, len(asked), _IDS_IN_A_QUERY):
        some = asked[first : first + _IDS_IN_A_QUERY]
        query = select(deleted_jobs.c.job_id).where(deleted_jobs.c.job_id.in_(some))
        found.update(JobId(job_id) for job_id in connection.execute(query).scalars())
    return found
