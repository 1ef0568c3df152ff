"""Compares the files of a data directory with the rows of its database.

A file without a row may still be needed, if the database is an old copy, an empty one, or another server's. So only the
files of jobs that the database has deleted are removed. Other files are moved to `set-aside`, or the server does not
start.
"""

from dataclasses import dataclass

from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store import deleted_jobs, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """The jobs whose files do not match the database, in sorted lists.

    Args:
        deleted: jobs that the database has deleted; their files may be removed.
        begun: unknown jobs without weights, which have only examples or unfinished work; and those whose adapters were
            arriving from elsewhere when a server was killed.
        trained: unknown jobs with weights.
        ahead: jobs that have not ended according to the database, but have an adapter and no work directory any more.
        unannounced: queued jobs that have both an adapter and a work directory. Usually a crash came between installing
            the adapter and writing the row; or the database is older than the adapter.
        done: ended jobs whose work directory was left by a crash, and is not needed any more.

    """

    deleted: tuple[JobId, ...] = ()
    begun: tuple[JobId, ...] = ()
    trained: tuple[JobId, ...] = ()
    ahead: tuple[JobId, ...] = ()
    unannounced: tuple[JobId, ...] = ()
    done: tuple[JobId, ...] = ()

    @property
    def weights(self) -> tuple[JobId, ...]:
        """The jobs whose weights a server with this database would ignore, or would train again."""
        return (*self.trained, *self.ahead)

    @property
    def unknown(self) -> tuple[JobId, ...]:
        """The jobs that the database does not know."""
        return (*self.begun, *self.trained)


def strangers(database: Database, artifacts: Artifacts) -> Strangers:
    """Find the jobs whose files in the directory do not match the database.

    Files are listed before rows are read. So a job that another server on the same directory ends meanwhile is not
    classified wrongly.
    """
    # Before the rows are read: an import that ends meanwhile has its row.
    arriving, here = artifacts.arriving_ids(), artifacts.job_ids()
    if not here:
        return Strangers()
    with database.read() as connection:
        earlier = tuning_jobs.states(connection)
    worked = artifacts.job_ids("work")
    over = {job_id for job_id in here if not _is_final(earlier.get(job_id)) and artifacts.is_over(job_id)}
    with database.read() as connection:
        states = tuning_jobs.states(connection)
        deleted = deleted_jobs.among(connection, here - states.keys())
    unknown = here - states.keys() - deleted
    trained = {job_id for job_id in unknown - arriving if artifacts.has_weights(job_id)}
    ahead = {job_id for job_id in over & states.keys() if not states[job_id].is_final}
    waiting = {job_id for job_id in here - ahead if states.get(job_id) is JobState.QUEUED}
    return Strangers(
        deleted=tuple(sorted(deleted)),
        begun=tuple(sorted(unknown - trained)),
        trained=tuple(sorted(trained)),
        ahead=tuple(sorted(ahead)),
        unannounced=tuple(sorted(job_id for job_id in waiting if artifacts.has_adapter(job_id))),
        done=tuple(sorted(job_id for job_id in worked if _is_final(states.get(job_id)))),
    )


def _is_final(state: JobState | None) -> bool:
    return state is not None and state.is_final
