"""Makes backups of a server's data while it runs, checks them, and restores them to an empty data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuningfork import __version__
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.server.data_directory import StartError, artifacts_in, check_user, make_private, now, only_server_of
from tuningfork.settings import Settings
from tuningfork.store.backup import Backup, check_backup, is_full, write_backup
from tuningfork.store.database import Database, sqlite_file
from tuningfork.store.required_files import Lacking, Looking, lacking, required_here
from tuningfork.store.restoring import Restored, check_not_interrupted, restore_backup
from tuningfork.store.server_id import known_server_id


class DataError(Exception):
    """A backup cannot be made, checked or restored; the message says why and what to do."""


def back_up(settings: Settings, to: Path, *, buckets: bool = True) -> Backup:
    """Back up the database and the data directory of these settings; see `store/backup.py`.

    `buckets`: whether the objects of the buckets in it are copied too.

    Raises:
        DataError: there is nothing to back up, it belongs to another user, or `to` exists already or cannot be
            written; then nothing is left there.

    """
    _check_there(settings)
    if to.absolute().is_relative_to(settings.data_dir.absolute()):
        raise DataError(
            f"{to} is in the data directory {settings.data_dir}, with which it would be lost; name a place elsewhere"
        )
    with _in_sentences():
        check_user(settings.data_dir)
        artifacts = artifacts_in(settings)
        url = settings.resolved_database_url
        return write_backup(url, artifacts, to, version=__version__, now=now(), buckets=buckets)


def check(path: Path) -> Backup:
    """Compare every file of a backup with its digest.

    Raises:
        DataError: the directory is not a backup, or it is damaged.

    """
    with _in_sentences():
        return check_backup(path)


def restore(settings: Settings, path: Path) -> Restored:
    """Restore a backup to the data directory and the database of these settings, which must both be empty.

    The database may also be the one that was backed up; then its rows stay, and only files are restored.

    Raises:
        DataError: the backup is damaged, the directory is not empty, the database is neither empty nor the one that was
            backed up, a server uses the directory, or it cannot be written.

    """
    with _in_sentences():
        # The backup is checked before anything is created.
        check_backup(path)
        make_private(settings.data_dir)
        with only_server_of(settings.data_dir):
            return restore_backup(path, settings.data_dir, settings.resolved_database_url)


def lacking_files(settings: Settings, *, digests: bool = False) -> list[Lacking]:
    """The artifacts that the database's models need and that are missing or damaged in the data directory.

    A server may be running. `digests`: read all files, and compare their digests and not only their sizes.

    Raises:
        DataError: the data directory or the database is not there, the directory belongs to another user, or the
            database cannot be used, for example since its tables are those of another version. Nothing was changed.

    """
    _check_there(settings)
    with _in_sentences():
        check_user(settings.data_dir)
        check_not_interrupted(settings.data_dir)
        database = Database.open(settings.resolved_database_url, migrate=False)
        try:
            artifacts, server = artifacts_in(settings), known_server_id(settings.data_dir)
            with database.read() as connection:
                needed = [*required_here(connection, artifacts, server)]
            found = lacking(needed, artifacts, looking=Looking.AT_DIGESTS if digests else Looking.AT_SIZES)
            with database.read() as connection:
                still = {(each.model_id, each.need) for each in required_here(connection, artifacts, server)}
        finally:
            database.close()
    # What was deleted or has ended meanwhile is not needed any more.
    return [each for each in found if (each.model_id, each.need) in still]


def _check_there(settings: Settings) -> None:
    """Check that there are a data directory and a database, since reading them would create what is not there."""
    if not settings.data_dir.is_dir():
        raise DataError(f"there is no data directory {settings.data_dir}; name it with --data-dir")
    file = sqlite_file(settings.resolved_database_url)
    if file is not None and not file.exists():
        raise DataError(f"there is no database {file}; see --data-dir and TUNINGFORK_DATABASE_URL")


@contextmanager
def _in_sentences() -> Iterator[None]:
    try:
        yield
    except FailedPrecondition as error:
        raise DataError(error.message) from error
    except StartError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        place = error.filename or "a file"
        if is_full(error):
            raise DataError(f"the disk is full; nothing was kept of this: {place} could not be written") from error
        raise DataError(f"{place} cannot be read or written: {error.strerror or error}") from error
