"""Removes files of deleted jobs, and what ended jobs do not need any more; moves files of unknown jobs aside."""

import logging
from collections.abc import Collection
from pathlib import Path

from tuningfork.domain.tuning_job import JobId
from tuningfork.store import checkpoints, deleted_jobs, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.leases import ServerId
from tuningfork.store.required_files import Looking, lacking, required, required_here
from tuningfork.store.strangers import Strangers, strangers

logger = logging.getLogger(__name__)

_MOST_NAMES = 5


def sweep(database: Database, artifacts: Artifacts) -> list[JobId]:
    """Tidy the directory at a start, after this server's interrupted jobs have been queued again.

    Weights of jobs that the database does not know stay where they are; a server that has any does not start.

    Returns:
        The deleted jobs whose files were removed.

    """
    found = strangers(database, artifacts)
    deleted = found.deleted
    for job_id in deleted:
        artifacts.delete(job_id)
    for job_id in found.done:
        artifacts.discard_work(job_id)
    _discard_unneeded_weights(database, artifacts)
    with artifacts.no_creations() as alone:
        if alone:
            # Searched again, since a job's row may have been written after the first search.
            found = strangers(database, artifacts)
            left = _set_aside(artifacts, found)
            # Last: as long as the directory of an arriving adapter is there, its files are known to be unfinished.
            artifacts.remove_unfinished(besides=left)
    return [*deleted]


def _discard_unneeded_weights(database: Database, artifacts: Artifacts) -> None:
    """Remove the adapters and checkpoints of ended jobs that no row needs.

    A server leaves them that is killed when a job has just ended, or while a backup keeps files from being removed.
    Files are listed before rows are read, so that a job that another server ends meanwhile is not among them.
    """
    with_adapter, with_checkpoints = artifacts.job_ids("adapters"), artifacts.job_ids("checkpoints")
    with database.read() as connection:
        ended = {job_id for job_id, state in tuning_jobs.states(connection).items() if state.is_final}
        needed = {each.ref.key for each in required(connection, artifacts)}
    for job_id in with_adapter & ended:
        if artifacts.adapter(job_id).key not in needed:
            artifacts.discard_adapter(job_id)
    for job_id in with_checkpoints & ended:
        artifacts.discard_checkpoints(job_id, besides=needed)


def set_strangers_aside(database: Database, artifacts: Artifacts) -> tuple[Strangers, Path | None]:
    """Move the files of jobs that the database does not know to a folder. No server may run on the directory.

    Returns:
        The jobs whose files were moved, and the folder where they are now; None: there were no such files.

    Raises:
        OSError: a file cannot be moved.

    """
    found = strangers(database, artifacts)
    with database.read() as connection:
        recorded = {each.artifact for job_id in found.ahead for each in checkpoints.checkpoints_of(connection, job_id)}
    return found, artifacts.set_aside(found.unknown, ahead=(*found.ahead, *found.unannounced), recorded=recorded)


def _set_aside(artifacts: Artifacts, found: Strangers) -> Collection[JobId]:
    """Move files without rows to a folder, and say so. Returns the unknown jobs that have files left in their place."""
    if not found.begun and not found.unannounced:
        return ()
    whose = listed((*found.begun, *found.unannounced))
    try:
        folder = artifacts.set_aside(found.begun, ahead=found.unannounced)
    except OSError as error:
        said = "the database does not account for files of %s; they stay where they are, since they cannot be moved: %s"
        logger.warning(said, whose, error, extra={"action": "files_left"})
        return artifacts.job_ids() & {*found.begun}
    said = "the database does not account for files of %s; nothing was deleted, and they are in %s now"
    logger.warning(said, whose, folder, extra={"action": "files_set_aside"})
    return ()


def listed(job_ids: Collection[JobId]) -> str:
    """The number of jobs, and the ids of the first of them."""
    names = sorted(job_ids)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{'job' if len(names) == 1 else 'the jobs'} {', '.join(names[:_MOST_NAMES])}{more}"


def say_lacking(database: Database, artifacts: Artifacts, server: ServerId) -> None:
    """Log which models lack files that this server should have, for example after a partial restore."""
    with database.read() as connection:
        needed = [*required_here(connection, artifacts, server)]
    found = lacking(needed, artifacts, looking=Looking.AT_NAMES)
    if found:
        names = ", ".join(each.line.replace("\t", " (") + ")" for each in found[:_MOST_NAMES])
        more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
        said = "files of tuned models are missing: %s%s; `tuningfork check` lists all"
        logger.warning(said, names, more, extra={"action": "files_missing"})


def remove_if_deleted(database: Database, artifacts: Artifacts, job_id: JobId) -> None:
    """Remove the files of a job without a row, if somebody deleted the job.

    Otherwise the row is missing since a running server's database was replaced by an older copy.
    """
    with database.read() as connection:
        deleted = bool(deleted_jobs.among(connection, [job_id]))
    if deleted:
        artifacts.delete(job_id)
    else:
        said = "is not in the database, which has not deleted it; its files stay"
        logger.warning("job %s %s", job_id, said, extra={"action": "job_unknown", "job": job_id})
