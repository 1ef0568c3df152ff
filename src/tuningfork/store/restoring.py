"""Restores a backup to an empty data directory and an empty database.

    restore.part/data/      the copied files, which are then moved to their places
    restore.part/complete   written when all copied files have reached the disk: the digest of the backup's
                            `backup.json`, with the word `files` after it if no database is restored, and the
                            backup's path

Until the file `complete` exists, an interrupted restore has changed nothing. Afterwards the same command, or the next
start of a server, finishes it. So after a restore that is killed, there is the old state or the new one.

One kind of database need not be empty: the one that was backed up, where it is still in use and only a data directory
was lost. Its rows are newer than the backup and may be those of several servers, so they stay, and only files are
restored.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuningfork.artifacts.durable import sync, sync_together, tree, write_aside
from tuningfork.artifacts.local import ELSEWHERE
from tuningfork.artifacts.manifest import digest_of
from tuningfork.buckets.kept_files import mend
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.store import file_locks
from tuningfork.store.backup import BUCKETS, DATA, DATABASE, MANIFEST, Backup, check_backup, copy_file
from tuningfork.store.database import Database
from tuningfork.store.database_copy import copy_in, id_in_file, takes_content

PART = "restore.part"
_COMPLETE = "complete"
_FILES_ONLY = " files"
_NOT_DATA = {PART, file_locks.DIRECTORY, "server.lock", "bases", ELSEWHERE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A backup that has been restored. `files_only`: the rows of its database, which is still in use, have stayed."""

    backup: Backup
    files_only: bool


def restore_backup(path: Path, data_directory: Path, url: str) -> Restored:
    """Check the backup, then restore it. An interrupted restore to this directory is started again, or finished.

    The caller has locked the data directory.

    Raises:
        FailedPrecondition: the backup is damaged or from a newer version, the directory is not empty, the database is
            neither empty nor the one that was backed up, or a restore of another backup to this directory was
            interrupted.
        OSError: a file cannot be read or written.

    """
    backup = check_backup(path)
    digest = digest_of(path / MANIFEST)
    files_only = _check_same(data_directory, digest)
    if finish_restore(data_directory, url):
        return Restored(backup=backup, files_only=files_only)
    part = data_directory / PART
    if part.exists():
        shutil.rmtree(part)
    _check_without_files(data_directory)
    files_only = not takes_content(url, id_in_file(path / DATA / DATABASE, frozen=True))
    for entry in backup.files:
        if files_only and entry.name == DATABASE:
            continue
        copied = copy_file(path / DATA / entry.name, part / DATA / entry.name)
        if (copied.size, copied.digest) != (entry.size, entry.digest):
            raise FailedPrecondition(f"the backup {path} changed while it was read: {entry.name}")
    mend(part / DATA / BUCKETS)
    if not files_only:
        # Opening migrates the copy, and refuses a copy of a newer version, before any file is moved.
        Database.open(f"sqlite:///{part / DATA / DATABASE}").close()
    sync_together(tree(part))
    mark = f"{digest}{_FILES_ONLY if files_only else ''}\n{path.absolute()}\n"
    write_aside(part / _COMPLETE, mark.encode(errors="surrogateescape"))
    sync(data_directory)
    finish_restore(data_directory, url)
    return Restored(backup=backup, files_only=files_only)


def finish_restore(data_directory: Path, url: str) -> bool:
    """Finish an interrupted restore whose files are complete. Returns whether there was one.

    Raises:
        FailedPrecondition: the database has other content by now.
        OSError: a file cannot be moved.

    """
    part = data_directory / PART
    if _is_over(part):
        part.rmdir()
    if not (part / _COMPLETE).exists():
        return False
    staged = part / DATA
    entries = sorted(staged.iterdir()) if staged.exists() else []
    for entry in entries:
        if entry.name != DATABASE:
            _remove_empty(data_directory / entry.name)
            entry.rename(data_directory / entry.name)
    sync(data_directory)
    if (staged / DATABASE).exists():
        copy_in(staged / DATABASE, url)
        (staged / DATABASE).unlink()
    shutil.rmtree(staged, ignore_errors=True)
    (part / _COMPLETE).unlink()
    part.rmdir()
    sync(data_directory)
    return True


def check_not_interrupted(data_directory: Path) -> None:
    """Check that no interrupted restore to this directory has to be run again.

    Raises:
        FailedPrecondition: there is an interrupted restore.

    """
    if (data_directory / PART).exists() and not _is_over(data_directory / PART):
        raise FailedPrecondition(
            f"a restore into {data_directory} was interrupted; run `tuningfork restore` again, or remove "
            f"{data_directory / PART} to go on without what it was to bring"
        )


def _is_over(part: Path) -> bool:
    """Whether the directory is all that is left of a restore: it is removed last, when it is empty."""
    return part.is_dir() and not any(part.iterdir())


def _check_same(data_directory: Path, digest: str) -> bool:
    """Check that a restore to this directory which is to be finished is that of the backup with this digest.

    Returns:
        Whether that restore leaves the database as it is; False if there is none.

    """
    try:
        content = (data_directory / PART / _COMPLETE).read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return False
    known, _, other = content.partition("\n")
    if known.removesuffix(_FILES_ONLY) != digest:
        raise FailedPrecondition(
            f"a restore into {data_directory} of another backup, {other.strip()}, was interrupted; run `tuningfork "
            "restore` with that one or start a server to finish it, or name another directory with --data-dir"
        )
    return known.endswith(_FILES_ONLY)


def _check_without_files(directory: Path) -> None:
    for path in directory.rglob("*"):
        relative = path.relative_to(directory)
        if relative.parts[0] not in _NOT_DATA and (path.is_symlink() or not path.is_dir()):
            raise FailedPrecondition(
                f"{directory} holds files already, such as {relative}, and nothing is overwritten; name an empty or a "
                "new directory with --data-dir"
            )


def _remove_empty(directory: Path) -> None:
    """Remove a directory and the empty directories in it, if it has no files."""
    if not directory.is_dir():
        return
    for path in sorted(directory.rglob("*"), reverse=True):
        with suppress(OSError):
            path.rmdir()
    with suppress(OSError):
        directory.rmdir()
