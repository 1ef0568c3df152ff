"""Backups: one state of a database and every artifact that its rows need, in a directory that is renamed when complete.

    backup.json           the program's version and the time, the size and digest of every file below `data`, and the
                          artifacts that were missing
    data/tuningfork.db    the database as a SQLite file, even if it is on PostgreSQL
    data/...              the artifacts with their manifests, the small files of the data directory, and the objects of
                          buckets in it, at the same paths

docs/adr/0019-backups-beside-a-running-server.md says why a backup is consistent while servers are running.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tuningfork.artifacts.base import ArtifactDamaged
from tuningfork.artifacts.durable import files_below, make_private, sync, sync_together, tree
from tuningfork.artifacts.manifest import DIRECTORY as MANIFESTS
from tuningfork.artifacts.manifest import FileEntry, Manifest, digest_of, file_key, manifest_key
from tuningfork.buckets.kept_files import is_object, kept_files
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.staged_dataset import StagedDataset
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import file_locks, staged_datasets, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.database_copy import copy_out
from tuningfork.store.required_files import Lacking, required_here
from tuningfork.store.server_id import known_server_id
from tuningfork.store.staged_rows import StagedFiles

MANIFEST = "backup.json"
DATA = "data"
DATABASE = "tuningfork.db"
BUCKETS = "buckets"
SMALL_FILES = ("database-id", "server-id", "api-key", "tls")
"""The files and directories that are copied besides the database and the artifacts, if they exist."""

_FORMAT = 1
_WRITING = "writing"
_PIECE_BYTES = 1 << 20
_PATIENCE_SECONDS = 60.0
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A complete backup. Names of `files` are relative to `path / "data"`.

    `lacking` lists, as lines of text, the artifacts that were missing or damaged in the data directory.
    """

    path: Path
    version: str
    create_time: str
    models: int
    files: tuple[FileEntry, ...]
    lacking: tuple[str, ...]
    elsewhere: int = 0
    """How many jobs have files below a storage root of their location, which are not in the backup."""

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(entry.size for entry in self.files)

    @property
    def objects(self) -> int:
        """How many objects of buckets it has."""
        below = f"{BUCKETS}/"
        return sum(each.name.startswith(below) and is_object(each.name.removeprefix(below)) for each in self.files)


def write_backup(
    url: str, artifacts: Artifacts, to: Path, *, version: str, now: datetime, buckets: bool = True
) -> Backup:
    """Back up the database and the data directory, while servers may use them.

    Args:
        url: the database's URL.
        artifacts: the data directory.
        to: the path of the backup; it must not exist yet.
        version: the version of this program.
        now: the current time.
        buckets: whether the objects of the buckets in the data directory are copied too.

    Raises:
        FailedPrecondition: `to` exists, another backup is being made, or the database cannot be copied.
        OSError: the disk is full, or a file cannot be read or written. Nothing is left of the backup.

    """
    with _aside(to) as part:
        copying = _Copying(artifacts, part / DATA)
        with file_locks.alone(artifacts.store.root / file_locks.REMOVALS, _PATIENCE_SECONDS) as alone:
            if not alone:
                raise FailedPrecondition("another backup of this data directory is being made; wait until it is done")
            backup = _copy_all(copying, url, to, version, now)
        if buckets:
            backup = replace(backup, files=(*backup.files, *_copy_buckets(copying)))
        (part / MANIFEST).touch(mode=0o600)
        (part / MANIFEST).write_text(_rendered(backup), encoding="utf-8")
        sync_together(tree(part))
        (part / _WRITING).unlink()
        sync(part)
        part.rename(to)
        sync(to.absolute().parent)
    return backup


def check_backup(path: Path) -> Backup:
    """Read a backup and compare every file with its digest.

    Raises:
        FailedPrecondition: the directory is not a backup, or it is damaged; the message names the first damaged files.

    """
    backup = _read(path)
    damaged = []
    for entry in backup.files:
        file = path / DATA / entry.name
        try:
            whole = file.stat().st_size == entry.size and digest_of(file) == entry.digest
        except OSError:
            whole = False
        if not whole:
            damaged.append(entry.name)
    if damaged:
        more = f" and {len(damaged) - _MOST_NAMES} more" if len(damaged) > _MOST_NAMES else ""
        raise FailedPrecondition(
            f"the backup {path} is damaged: {', '.join(damaged[:_MOST_NAMES])}{more} of {len(backup.files)} files are "
            "missing or are not what was written; use another backup"
        )
    return backup


def copy_file(origin: Path, place: Path) -> FileEntry:
    """Copy a file, readable by its user only, and return the copy's size and digest. `FileEntry.name` is "".

    Raises:
        OSError: it cannot be read or written.

    """
    with origin.open("rb") as source:
        return _copy_open(source, place)


def _copy_open(source: BinaryIO, place: Path) -> FileEntry:
    make_private(place.parent)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as to:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
            to.write(piece)
    return FileEntry(name="", size=size, digest=digest.hexdigest())


@dataclass(slots=True)
class _Copying:
    """Copies files of a data directory to another directory, and records which."""

    artifacts: Artifacts
    place: Path
    files: dict[str, FileEntry] = field(default_factory=dict)
    _done: dict[ArtifactRef, bool] = field(default_factory=dict)

    def add(self, name: str) -> FileEntry:
        # Never anything of another root: see `store/regions.py`.
        copied = copy_file(self.artifacts.store.root / name, self.place / name)
        self.files[name] = FileEntry(name=name, size=copied.size, digest=copied.digest)
        return self.files[name]

    def add_artifact(self, ref: ArtifactRef) -> bool:
        """Copy an artifact, and return whether it matches its manifest. Damaged files are copied as they are.

        Raises:
            FileNotFoundError: the artifact or one of its files is missing; nothing of it is in the copy.

        """
        if ref in self._done:
            return self._done[ref]
        try:
            manifest = Manifest.parse((self.artifacts.store.root / manifest_key(ref)).read_bytes())
        except ArtifactDamaged:
            self._done[ref] = False
            return False
        try:
            copied = [(entry, self.add(file_key(ref, entry))) for entry in manifest.files]
            self.add(manifest_key(ref))
        except FileNotFoundError:
            self.drop(ref)
            raise
        whole = all(entry.size == now.size and entry.digest in (None, now.digest) for entry, now in copied)
        self._done[ref] = whole
        return whole

    def drop(self, ref: ArtifactRef) -> None:
        """Remove the artifact and all artifacts below it from the copy."""
        for key in (ref.key, f"{MANIFESTS}/{ref.key}", manifest_key(ref)):
            for name in [name for name in self.files if name == key or name.startswith(f"{key}/")]:
                del self.files[name]
                (self.place / name).unlink(missing_ok=True)
        for done in [done for done in self._done if done == ref or done.key.startswith(f"{ref.key}/")]:
            del self._done[done]


def _copy_all(copying: _Copying, url: str, to: Path, version: str, now: datetime) -> Backup:
    """Copy work directories, then the database, then the artifacts that its rows need. The ADR explains the order."""
    artifacts = copying.artifacts
    worked = {job_id for job_id in artifacts.job_ids("work") if not artifacts.is_elsewhere(job_id)}
    for job_id in worked:
        _copy_work(copying, job_id)
    make_private(copying.place)
    copy_out(url, copying.place / DATABASE)
    copy = Database.open(f"sqlite:///{copying.place / DATABASE}")
    try:
        with copy.read() as connection:
            states = tuning_jobs.states(connection)
            required = [*required_here(connection, artifacts, known_server_id(artifacts.store.root))]
            staged = staged_datasets.every(connection)
    finally:
        copy.close()
    elsewhere = {each.job_id for each in required if artifacts.is_elsewhere(each.job_id)}
    for job_id in worked:
        if job_id not in states or states[job_id].is_final:
            copying.drop(artifacts.work(job_id))
    lacking = []
    for each in [each for each in required if each.job_id not in elsewhere]:
        try:
            whole, missing = copying.add_artifact(each.ref), False
        except FileNotFoundError:
            whole, missing = False, True
        if not whole:
            lacking.append(Lacking(model_id=each.model_id, need=each.need, missing=missing).line)
    _copy_staged(copying, staged)
    for name in _small_files(artifacts.store.root):
        copying.add(name)
    file = copying.place / DATABASE
    database = FileEntry(name=DATABASE, size=file.stat().st_size, digest=digest_of(file))
    return Backup(
        path=to,
        version=version,
        create_time=now.isoformat(timespec="seconds"),
        models=len(states),
        files=(database, *(copying.files[name] for name in sorted(copying.files))),
        lacking=tuple(lacking),
        elsewhere=len(elsewhere),
    )


def _copy_staged(copying: _Copying, staged: Sequence[StagedDataset]) -> None:
    """Copy the rows and edits of staged datasets, as far as they are here.

    What somebody deletes or undoes meanwhile is not copied. A dataset of which a file is missing tells so when it is
    read, and can be uploaded again; models need none of them.
    """
    files = StagedFiles(copying.artifacts.store)
    for dataset in staged:
        for ref in files.refs(dataset.id, dataset.generation, dataset.edit_numbers):
            with suppress(FileNotFoundError):
                copying.add_artifact(ref)


def _copy_work(copying: _Copying, job_id: JobId) -> None:
    """Copy the complete artifacts of a job's work directory. A trainer may remove an earlier savepoint meanwhile."""
    root = copying.artifacts.store.root / MANIFESTS
    for manifest in files_below(root / copying.artifacts.work(job_id).key):
        if manifest.suffix != ".json":
            continue
        ref = ArtifactRef(manifest.relative_to(root).with_suffix("").as_posix())
        try:
            copying.add_artifact(ref)
        except FileNotFoundError:
            continue


def _copy_buckets(copying: _Copying) -> Iterator[FileEntry]:
    """Copy the buckets, after the database: what its jobs are still to read was there when they were created."""
    for name, content in kept_files(copying.artifacts.store.root / BUCKETS):
        whole = f"{BUCKETS}/{name}"
        copied = _copy_open(content, copying.place / whole)
        yield FileEntry(name=whole, size=copied.size, digest=copied.digest)


def _small_files(root: Path) -> Iterator[str]:
    for name in SMALL_FILES:
        path = root / name
        if path.is_dir():
            yield from (file.relative_to(root).as_posix() for file in files_below(path))
        elif path.exists():
            yield name


@contextmanager
def _aside(to: Path) -> Iterator[Path]:
    """A temporary directory beside `to`, removed at the end unless it was renamed.

    Directories that interrupted backups have left are removed first.
    """
    if os.path.lexists(to):
        raise FailedPrecondition(f"{to} is there already, and a backup overwrites nothing; name a place that is free")
    to.absolute().parent.mkdir(parents=True, exist_ok=True)
    part = to.absolute().with_name(f".{to.name}.part")
    if part.exists() and not (part / _WRITING).exists():
        raise FailedPrecondition(f"{part} is in the way and no backup has left it; move it")
    part.mkdir(mode=0o700, exist_ok=True)
    with (part / _WRITING).open("a") as writing:
        try:
            fcntl.flock(writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedPrecondition(f"another backup to {to} is being made") from None
        for left in part.iterdir():
            if left.name != _WRITING:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _rendered(backup: Backup) -> str:
    files = [{"name": entry.name, "size": entry.size, "digest": entry.digest} for entry in backup.files]
    content = {
        "format": _FORMAT,
        "version": backup.version,
        "create_time": backup.create_time,
        "models": backup.models,
        "lacking": backup.lacking,
        "elsewhere": backup.elsewhere,
        "files": files,
    }
    return json.dumps(content, indent=1) + "\n"


def _read(path: Path) -> Backup:
    try:
        content = json.loads((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FailedPrecondition(f"{path} is no backup: it has no file {MANIFEST}") from None
    except ValueError as error:
        raise FailedPrecondition(f"the backup {path} is damaged: {MANIFEST} cannot be read ({error})") from error
    try:
        if content["format"] != _FORMAT:
            raise FailedPrecondition(
                f"the backup {path} has format {content['format']}, and this version reads {_FORMAT}; it was made by "
                f"version {content['version']}, use that one or a newer one"
            )
        files = tuple(FileEntry(row["name"], row["size"], row["digest"]) for row in content["files"])
        backup = Backup(
            path=path,
            version=content["version"],
            create_time=content["create_time"],
            models=content["models"],
            files=files,
            lacking=tuple(content["lacking"]),
            elsewhere=content.get("elsewhere", 0),
        )
    except (KeyError, TypeError) as error:
        raise FailedPrecondition(f"the backup {path} is damaged: {MANIFEST} is incomplete ({error!r})") from error
    for entry in files:
        if PurePosixPath(entry.name).is_absolute() or ".." in PurePosixPath(entry.name).parts:
            raise FailedPrecondition(f"{path / MANIFEST} names {entry.name!r}, a place outside of the data directory")
    return backup


def is_full(error: OSError) -> bool:
    """Whether the error is that of a full disk."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
