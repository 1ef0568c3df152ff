"""Whose buckets are: a small file for each bucket that was made here says who made it and for which project."""

import json
import logging
import os
import shutil
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuningfork.buckets.configuration import BucketSettings, MappedBucket
from tuningfork.buckets.errors import DirectoryAway
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Email, Principal

logger = logging.getLogger(__name__)

_ANY_PROJECT = ("", LOCAL_PRINCIPAL.project)
"""Projects of callers who may use any project's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRecord:
    """A bucket: its owner, and the project that it was made for, "" if none was named.

    `owner` None: the operator shares it with everybody; then `writable` says whether for writing too.
    """

    name: str
    owner: Email | None
    project: str
    create_time: datetime
    writable: bool = True

    def is_readable_by(self, principal: Principal) -> bool:
        """Whether the caller may read what is in it, and may know that it is there.

        An owner who calls on behalf of a project sees only what was made for this project, or for none.
        """
        if self.owner is None:
            return True
        return self.owner == principal.email and may_use(principal, self.project)

    def is_writable_by(self, principal: Principal) -> bool:
        """Whether the caller may write into it and delete from it."""
        return self.writable and self.is_readable_by(principal)


def may_use(principal: Principal, project: str) -> bool:
    """Whether the caller may act for this project; "" is no project."""
    return principal.project in _ANY_PROJECT or project in ("", principal.project)


def project_of(principal: Principal) -> str:
    """The project that the caller's key was made for; "" if it was made for none."""
    return "" if principal.project in _ANY_PROJECT else principal.project


class BucketRecords:
    """The records of all buckets in directories. Several processes may read them; the server alone writes them."""

    def __init__(self, settings: BucketSettings) -> None:
        self.root = settings.root
        self.records_directory = settings.server_files / "records"
        self.metadata_directory = settings.server_files / "metadata"
        # Held while a bucket is made or removed: of two callers who make one at a time, one is its owner.
        self._changing = threading.Lock()
        self._mapped = {each.name: each for each in settings.mapped}

    def find(self, name: str) -> BucketRecord | None:
        """The record of a bucket; None: there is no such bucket. `name` is that of a bucket."""
        if (mapped := self._mapped.get(name)) is not None:
            return _shared(mapped)
        try:
            is_there = (self.root / name).is_dir() and not (self.root / name).is_symlink()
            return self._read(name) if is_there else None
        except FileNotFoundError:
            # The operator has put a directory there: it belongs to the machine's owner.
            made = datetime.fromtimestamp((self.root / name).stat().st_mtime, UTC)
            return BucketRecord(name=name, owner=LOCAL_PRINCIPAL.email, project="", create_time=made)

    def directory_of(self, name: str) -> Path:
        """The directory of a bucket.

        Raises:
            DirectoryAway: the operator has mapped the bucket to a directory that is not there.

        """
        mapped = self._mapped.get(name)
        if mapped is None:
            return self.root / name
        if not os.path.isdir(mapped.directory):  # noqa: PTH112 - `Path.is_dir` raises some errors of disks that are away
            extra = {"action": "directory_away"}
            logger.warning("the directory %s of the bucket %s is not there", mapped.directory, name, extra=extra)
            raise DirectoryAway(name)
        return mapped.directory

    def names(self) -> list[str]:
        """The names of all buckets, sorted; some may be gone by now."""
        try:
            here = [entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            here = []
        return sorted({name for name in here if not name.startswith(".")} | set(self._mapped))

    def add(self, record: BucketRecord) -> bool:
        """Make the bucket; False: there is one of this name."""
        if record.name in self._mapped:
            return False
        with self._changing:
            if (self.root / record.name).exists():
                return False
            # The record comes first: a crash leaves no bucket, and never one that belongs to somebody else.
            self._write(record)
            (self.root / record.name).mkdir(mode=0o700)
            return True

    def remove(self, name: str) -> None:
        """Remove an empty bucket.

        Raises:
            OSError: it is not empty.

        """
        with self._changing:
            (self.root / name).rmdir()
            self.place_of(name).unlink(missing_ok=True)
            shutil.rmtree(self.metadata_directory / name, ignore_errors=True)

    def _write(self, record: BucketRecord) -> None:
        self.records_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self.place_of(record.name)
        aside = place.with_suffix(".aside")
        written = {"owner": record.owner, "project": record.project, "createTime": record.create_time.isoformat()}
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(written, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(place)

    def _read(self, name: str) -> BucketRecord:
        found = json.loads(self.place_of(name).read_text(encoding="utf-8"))
        made = datetime.fromisoformat(found["createTime"])
        return BucketRecord(name=name, owner=Email(found["owner"]), project=found["project"], create_time=made)

    def place_of(self, name: str) -> Path:
        """The file of a bucket's record, which may not be there."""
        return self.records_directory / f"{name}.json"


def _shared(mapped: MappedBucket) -> BucketRecord:
    try:
        made = datetime.fromtimestamp(mapped.directory.stat().st_mtime, UTC)
    except OSError:
        made = datetime.fromtimestamp(0, UTC)
    return BucketRecord(name=mapped.name, owner=None, project="", create_time=made, writable=mapped.writable)
