"""The data directory, private to its user and used by one server; the database; use cases that need only these."""

import fcntl
import os
import pwd
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tuningfork.domain.errors import FailedPrecondition
from tuningfork.service.identity.keys import Access
from tuningfork.service.sharing.groups import Groups
from tuningfork.settings import Settings
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, sqlite_file
from tuningfork.store.regions import Region, jobs_below, linked_roots, parse_region
from tuningfork.store.restoring import check_not_interrupted
from tuningfork.store.server_id import server_id

UseCasesAlone = TypeVar("UseCasesAlone")


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


def now() -> datetime:
    """The current time in UTC, timezone-aware."""
    return datetime.now(UTC)


def open_database(settings: Settings) -> Database:
    """The database of these settings, migrated to the newest schema.

    Raises:
        StartError: the database or the data directory cannot be used.

    """
    make_private(settings.data_dir)
    try:
        check_not_interrupted(settings.data_dir)
        _check_not_lost(settings)
        return Database.open(settings.resolved_database_url)
    except FailedPrecondition as error:
        raise StartError(error.message) from error


def _check_not_lost(settings: Settings) -> None:
    """Create no empty database beside files that another one knows.

    Raises:
        StartError: there are files of jobs, and no database.

    """
    file = sqlite_file(settings.resolved_database_url)
    if file is None or (file.exists() and file.stat().st_size):
        return
    jobs = jobs_below(settings.data_dir)
    if jobs:
        raise StartError(
            f"{settings.data_dir} holds files of {len(jobs)} tuning jobs, but there is no database {file}. Nothing was "
            f"changed. Put the database back, or make a data directory of a backup with `tuningfork restore`. "
            f"{beside(settings.data_dir)}"
        )


def artifacts_in(settings: Settings) -> Artifacts:
    """The files of the data directory, and those below the storage roots of its regions.

    Where there are such roots, and the directory has no id of a server yet, it gets one.

    Raises:
        StartError: a storage root is in the data directory or holds it, is not there, or cannot be used.

    """
    regions = [parse_region(text) for text in settings.regions]
    for directory in linked_roots(settings.data_dir):
        if not directory.is_dir():
            raise StartError(f"{directory}, where files of jobs of a location are, is not there: is its disk mounted?")
    if not regions:
        return Artifacts(settings.data_dir)
    for each in regions:
        _check_region(each, settings.data_dir.absolute())
    server = server_id(settings.data_dir, secrets.randbits)
    try:
        return Artifacts(settings.data_dir, now, {each.location: each.directory / server for each in regions})
    except OSError as error:
        raise StartError(f"{error.filename} cannot be used for the data of a location: {error.strerror}") from error


def _check_region(region: Region, data_directory: Path) -> None:
    directory = region.directory
    if directory.is_relative_to(data_directory) or data_directory.is_relative_to(directory):
        raise StartError(f"{directory}, the directory of {region.location}, and {data_directory} must lie apart")
    if not directory.is_dir():
        # Making it could fill the wrong disk, where it is to be mounted.
        raise StartError(f"{directory}, the directory of {region.location}, is not there: make it, or mount its disk")


def beside(data_directory: Path) -> str:
    """The sentence that says how to begin anew without losing the files that are there."""
    command = f"tuningfork set-aside --data-dir {shlex.quote(str(data_directory))}"
    return f"To begin anew beside the old files, move them to {data_directory / 'set-aside'} with `{command}`."


def open_access(settings: Settings) -> AbstractContextManager[Access]:
    """The use cases of API keys, for the command line. They also work while a server is running.

    Raises:
        StartError: see `open_database`.

    """
    return _opened(settings, Access)


def open_groups(settings: Settings) -> AbstractContextManager[Groups]:
    """The use cases of groups, for the command line. They also work while a server is running.

    Raises:
        StartError: see `open_database`.

    """
    return _opened(settings, Groups)


@contextmanager
def _opened(
    settings: Settings, use_cases: Callable[[Database, Callable[[], datetime]], UseCasesAlone]
) -> Iterator[UseCasesAlone]:
    database = open_database(settings)
    try:
        yield use_cases(database, now)
    finally:
        database.close()


def make_private(data_directory: Path) -> None:
    """Create the directory, readable by its user only, since it holds training data. An existing one is not changed.

    Raises:
        StartError: the directory cannot be created.

    """
    try:
        data_directory.parent.mkdir(parents=True, exist_ok=True)
        data_directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"{data_directory} cannot be the data directory: {error.strerror}; choose another with --data-dir"
        ) from error


def check_user(data_directory: Path) -> None:
    """Check that this process has the user of the server that made the directory's files.

    Files that another user makes there, such as those of locks, could not be opened by the server.

    Raises:
        StartError: the files belong to another user.

    """
    try:
        owner = (data_directory / "datasets").stat().st_uid
    except FileNotFoundError:
        # No server has been started on it yet.
        return
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"the user {owner}"
        raise StartError(f"{data_directory} belongs to {name}; run this command as that user, like the server")


@contextmanager
def only_server_of(data_directory: Path) -> Iterator[None]:
    """Lock the data directory: two servers on it would have the same id, and resume each other's running jobs.

    Raises:
        StartError: another server has locked it, or it cannot be written.

    """
    try:
        lock = (data_directory / "server.lock").open("w")
    except OSError as error:
        raise StartError(f"{data_directory} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"another server already uses {data_directory}; stop it, or give this one its own --data-dir"
            ) from error
        yield
