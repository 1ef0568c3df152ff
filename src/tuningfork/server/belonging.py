"""Checks that a data directory and a database belong together, before a server changes either.

Each start compares them. To a database that is new, restored from an old copy, or another server's, the directory's
files would look unneeded. So a server does not start if the database does not know all weights in the directory, and
nothing is ever overwritten.
"""

import logging
import secrets
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tuningfork.artifacts.durable import write_aside
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.tuning_job import JobId
from tuningfork.server.data_directory import (
    StartError,
    artifacts_in,
    beside,
    check_user,
    make_private,
    now,
    only_server_of,
)
from tuningfork.service.tuning.tidying import listed, set_strangers_aside
from tuningfork.settings import Settings
from tuningfork.store import database_id, restoring
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, shown, sqlite_file
from tuningfork.store.database_id import DatabaseId
from tuningfork.store.disk_reserve import DiskReserve
from tuningfork.store.set_aside import set_aside
from tuningfork.store.strangers import strangers

logger = logging.getLogger(__name__)


def artifacts_of(settings: Settings, database: Database) -> Artifacts:
    """The files of the data directory, which is recorded as belonging to this database.

    A directory without such a record, as those of earlier versions, is accepted if the database knows a job in it.
    Earlier versions left weights behind that another server on the same database had deleted; such weights, which the
    database does not know, are moved to `set-aside`.

    Raises:
        StartError: there are weights that the database does not know, or the directory belongs to another database and
            has files that this one does not know. Nothing was changed.

    """
    artifacts = artifacts_in(settings)
    this = _id_of(database)
    known = database_id.remembered(settings.data_dir)
    found = strangers(database, artifacts)
    if known is None and found.trained and not found.ahead and artifacts.job_ids().difference(found.unknown):
        _set_weights_aside(artifacts, found.trained)
        found = replace(found, trained=())
    orphans = found.weights if known in (None, this) else (*found.unknown, *found.ahead)
    if orphans:
        raise StartError(
            f"{settings.data_dir} holds files of {listed(orphans)}, which the database "
            f"{shown(settings.resolved_database_url)} does not account for: {_why(known, this)}. Nothing was changed. "
            f"Start with the database that knows them: see --data-dir and TUNINGFORK_DATABASE_URL, or make a data "
            f"directory of a backup with `tuningfork restore`. {beside(settings.data_dir)}"
        )
    if known != this:
        database_id.remember(settings.data_dir, this)
    return artifacts


def _set_weights_aside(artifacts: Artifacts, jobs: Collection[JobId]) -> None:
    try:
        folder = artifacts.set_aside(jobs)
    except OSError as error:
        raise StartError(f"{error.filename} cannot be moved: {error.strerror}; move it by hand") from error
    said = (
        "the database does not know weights of %s; an earlier version may have left them when their models were "
        "deleted; nothing was deleted, and they are in %s now"
    )
    logger.warning(said, listed(jobs), folder, extra={"action": "files_set_aside"})


def begin_anew(settings: Settings) -> tuple[int, Path | None]:
    """Move the files of jobs that the database does not know to a folder, and record that the directory belongs to it.

    Returns:
        The number of jobs whose files were moved, and the folder where they are now; None: there were no such files.

    Raises:
        StartError: a server uses the directory, it belongs to another user, the database cannot be used, or a
            file cannot be moved.

    """
    make_private(settings.data_dir)
    check_user(settings.data_dir)
    with only_server_of(settings.data_dir):
        try:
            database = Database.open(settings.resolved_database_url)
        except FailedPrecondition as error:
            raise StartError(error.message) from error
        try:
            found, folder = set_strangers_aside(database, artifacts_in(settings))
            database_id.remember(settings.data_dir, _id_of(database))
        except OSError as error:
            raise StartError(f"{error.filename} cannot be moved: {error.strerror}; move it by hand") from error
        finally:
            database.close()
    return len({*found.unknown, *found.ahead, *found.unannounced}), folder


def finish_restore(settings: Settings) -> None:
    """Finish a restore that was interrupted after all files had been copied to the directory.

    Raises:
        StartError: the restore cannot be finished.

    """
    try:
        if restoring.finish_restore(settings.data_dir, settings.resolved_database_url):
            said = "the restore into %s that was interrupted is finished"
            logger.warning(said, settings.data_dir, extra={"action": "restore_finished"})
    except FailedPrecondition as error:
        raise StartError(error.message) from error
    except OSError as error:
        raise StartError(f"the restore into {settings.data_dir} cannot be finished: {error}") from error


def disk_reserve(settings: Settings) -> DiskReserve:
    """The space that is kept on the database's disk, so that models can be deleted when it is full."""
    file = sqlite_file(settings.resolved_database_url)
    reserve = DiskReserve(settings.data_dir if file is None else file.parent, settings.disk_reserve_mebibytes * 2**20)
    reserve.refill()
    return reserve


def keep_first_key(settings: Settings, key: str) -> None:
    """Write the key to the key file. A key that is there, which another database knows, is moved to `set-aside`."""
    former = set_aside(settings.data_dir, [settings.key_file], now())
    if former is not None:
        said = "the database has no API key, so a new one was made; the one that was in %s is in %s now"
        logger.warning(said, settings.key_file, former, extra={"action": "key_set_aside"})
    write_aside(settings.key_file, f"{key}\n".encode())


def _id_of(database: Database) -> DatabaseId:
    with database.read() as connection:
        known = database_id.known_id(connection)
    if known is not None:
        return known
    with database.write() as connection:
        return database_id.database_id(connection, secrets.randbits)


def _why(known: DatabaseId | None, this: DatabaseId) -> str:
    if known is None:
        return "it may be another database than theirs, or an older copy of it"
    if known == this:
        return "it is an older copy of the database that the directory was used with"
    return f"the directory belongs to the database {known}, and this one is {this}"
