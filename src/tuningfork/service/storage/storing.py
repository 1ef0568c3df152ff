"""Buckets and objects for callers: who may, what is there, and room on the disk."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tuningfork.buckets.checksums import Checksums
from tuningfork.buckets.configuration import BucketSettings
from tuningfork.buckets.errors import BucketNotEmpty, BucketNotFound, BucketReadOnly, BucketTaken, ObjectNotFound
from tuningfork.buckets.listing import Page, Wanted
from tuningfork.buckets.metadata import ObjectMetadata, Properties
from tuningfork.buckets.names import check_bucket, segments_of
from tuningfork.buckets.objects import ANYTHING, Conditions, LocalObjects
from tuningfork.buckets.owners import BucketRecord, BucketRecords, may_use, project_of
from tuningfork.buckets.uploads import Arriving, Upload, UploadGone, Uploads
from tuningfork.domain.errors import FieldViolation, InvalidArgument, PermissionDenied, ResourceExhausted
from tuningfork.domain.permission import Principal
from tuningfork.store.full_disk import full_disk_reported

SPARE_BYTES = 64 * 2**20
"""What uploads leave free on the disk, for the jobs that run."""


def free_bytes(directory: Path) -> int:
    """The free space of the disk that a directory is on."""
    return shutil.disk_usage(directory).free


class ProjectDenied(PermissionDenied):
    """The caller's key was made for another project."""

    def __init__(self, project: str) -> None:
        super().__init__(f"The caller may not act for the project {project[:100]!r}.")
        self.project = project


class ChecksumsDiffer(InvalidArgument):
    """The bytes that have arrived are not those that were announced."""

    def __init__(self, name: str, announced: str, found: str) -> None:
        message = f"Provided {name} hash {announced[:100]!r} doesn't match calculated {name} hash {found!r}."
        super().__init__(message, violations=(FieldViolation(field=name, description=message),))


class Storing:
    """What callers do with buckets and objects. What a caller may not read is not there for them.

    `free` is for disks of tests.
    """

    def __init__(
        self,
        settings: BucketSettings,
        clock: Callable[[], datetime],
        *,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._records = BucketRecords(settings)
        self._objects = LocalObjects(settings, clock)
        self._uploads = Uploads(settings)
        self._clock = clock
        self._free = free

    @full_disk_reported()
    def create_bucket(self, principal: Principal, name: str, project: str) -> BucketRecord:
        """Make a bucket, which belongs to the caller.

        Raises:
            InvalidName: it is no name of a bucket.
            BucketTaken: there is one of this name, perhaps somebody else's.
            ProjectDenied: the caller's key was made for another project.

        """
        self._check_project(principal, project)
        record = BucketRecord(
            name=check_bucket(name),
            owner=principal.email,
            project=project or project_of(principal),
            create_time=self._clock(),
        )
        if not self._records.add(record):
            raise BucketTaken(name)
        return record

    def bucket(self, principal: Principal, name: str) -> BucketRecord:
        """A bucket that the caller may read.

        Raises:
            InvalidName: it is no name of a bucket.
            BucketNotFound: there is none, or the caller may not read it.

        """
        record = self._records.find(check_bucket(name))
        if record is None or not record.is_readable_by(principal):
            raise BucketNotFound(name)
        return record

    def list_buckets(self, principal: Principal, project: str, prefix: str) -> list[BucketRecord]:
        """The buckets of a project that the caller may read, and those that the operator shares.

        Project "": that of the caller's key; those of all projects if the key was made for none.

        Raises:
            ProjectDenied: the caller's key was made for another project.

        """
        self._check_project(principal, project)
        wanted = project or project_of(principal)
        found = [self._records.find(name) for name in self._records.names() if name.startswith(prefix)]
        return [
            record
            for record in found
            if record is not None
            and record.is_readable_by(principal)
            and (not wanted or record.project in ("", wanted))
        ]

    def delete_bucket(self, principal: Principal, name: str) -> None:
        """Remove an empty bucket.

        Raises:
            BucketNotFound: there is none, or the caller may not read it.
            BucketReadOnly: the operator shares it.
            BucketNotEmpty: it has objects.

        """
        if self.bucket(principal, name).owner is None:
            raise BucketReadOnly(name)
        if not self._objects.is_empty(name):
            raise BucketNotEmpty(name)
        try:
            self._records.remove(name)
        except OSError as error:
            raise BucketNotEmpty(name) from error

    def list(self, principal: Principal, bucket: str, wanted: Wanted) -> tuple[list[ObjectMetadata], Page]:
        """One page of the objects of a bucket.

        Raises:
            BucketNotFound: there is none, or the caller may not read it.

        """
        self.bucket(principal, bucket)
        return self._objects.list(bucket, wanted)

    @full_disk_reported()
    def find(
        self, principal: Principal, bucket: str, key: str, conditions: Conditions = ANYTHING, generation: int = 0
    ) -> ObjectMetadata:
        """An object. `generation` 0: whatever is there.

        Raises:
            BucketNotFound: there is no such bucket, or the caller may not read it.
            ObjectNotFound: there is no such object, or not of this generation.
            ConditionNotMet: it is not as the conditions say.

        """
        with self.open(principal, bucket, key, conditions, generation) as (_, metadata):
            return metadata

    @contextmanager
    def open(
        self, principal: Principal, bucket: str, key: str, conditions: Conditions = ANYTHING, generation: int = 0
    ) -> Iterator[tuple[BinaryIO, ObjectMetadata]]:
        """An object for reading, closed at the end.

        Raises:
            TuningforkError: as `find`.

        """
        self.bucket(principal, bucket)
        with self._objects.open(bucket, key) as (file, metadata):
            if generation not in (0, metadata.generation):
                raise ObjectNotFound(bucket, key)
            conditions.check(metadata)
            # Once more: meanwhile somebody else may have made a bucket of this name, whose file this then is.
            self.bucket(principal, bucket)
            yield file, metadata

    @full_disk_reported()
    def change(
        self,
        principal: Principal,
        bucket: str,
        key: str,
        changed: Callable[[Properties], Properties],
        conditions: Conditions = ANYTHING,
    ) -> ObjectMetadata:
        """Change the properties of an object.

        Raises:
            TuningforkError: as `find`; BucketReadOnly: the bucket is shared for reading only.

        """
        self._check_writable(principal, bucket)
        return self._objects.change(bucket, key, changed, conditions)

    def delete(self, principal: Principal, bucket: str, key: str, conditions: Conditions = ANYTHING) -> None:
        """Remove an object.

        Raises:
            TuningforkError: as `change`.

        """
        self._check_writable(principal, bucket)
        self._objects.delete(bucket, key, conditions)

    @full_disk_reported()
    def copy(
        self,
        principal: Principal,
        source: tuple[str, str],
        to: tuple[str, str],
        conditions: Conditions = ANYTHING,
        source_conditions: Conditions = ANYTHING,
    ) -> ObjectMetadata:
        """Copy an object with its properties. `source` and `to` are each a bucket and a key.

        Raises:
            TuningforkError: as `find` for the source, as `change` for the copy; ResourceExhausted: there is no room.

        """
        self._check_writable(principal, to[0])
        with (
            self.open(principal, *source) as (file, metadata),
            self.arriving(principal, Upload(bucket=to[0], key=to[1], owner=principal.email)) as arriving,
        ):
            source_conditions.check(metadata)
            while piece := file.read(2**20):
                self.add(arriving, piece)
            upload = replace(arriving.upload, properties=metadata.properties, conditions=conditions)
            return self._put(arriving, upload)

    @contextmanager
    def arriving(self, principal: Principal, upload: Upload) -> Iterator[Arriving]:
        """An upload in one piece. What has not been kept with `keep` at the end of the `with` block is gone.

        Raises:
            BucketNotFound: there is no such bucket, or the caller may not read it.
            BucketReadOnly: the bucket is shared for reading only.
            InvalidName: no object can have this key.

        """
        self._check_upload(principal, upload)
        with full_disk_reported():
            opened = self._uploads.at_once(upload)
        with opened as arriving:
            yield arriving

    @full_disk_reported()
    def begin(self, principal: Principal, upload: Upload) -> str:
        """Begin an upload in several pieces; its id.

        Raises:
            TuningforkError: as `arriving`; ResourceExhausted: there is no room for its announced size.

        """
        self._check_upload(principal, upload)
        self._check_room(upload.size or 0)
        return self._uploads.begin(upload)

    def take(self, principal: Principal, upload_id: str) -> Arriving:
        """An upload of the caller's that was begun, for one request; to be ended with `give_back`.

        Raises:
            UploadGone: there is none.
            Busy: another request writes to it.

        """
        arriving = self._uploads.take(upload_id)
        record = self._records.find(arriving.upload.bucket)
        is_hidden = record is not None and not record.is_readable_by(principal)
        if arriving.upload.owner != principal.email or is_hidden:
            self._uploads.give_back(arriving)
            raise UploadGone
        return arriving

    def give_back(self, arriving: Arriving) -> None:
        """End the use of an upload that was taken."""
        self._uploads.give_back(arriving)

    def cancel(self, arriving: Arriving) -> None:
        """Remove an upload that was taken."""
        self._uploads.cancel(arriving)

    @full_disk_reported()
    def add(self, arriving: Arriving, piece: bytes) -> None:
        """Write further bytes of an upload.

        Raises:
            ResourceExhausted: the disk has no room for them beside what is left for jobs.

        """
        self._check_room(len(piece), arriving.directory)
        arriving.add(piece)

    @full_disk_reported()
    def keep(self, principal: Principal, arriving: Arriving) -> ObjectMetadata:
        """Make an object of what has arrived.

        Raises:
            TuningforkError: as `arriving`, if something has changed meanwhile.
            ChecksumsDiffer: the bytes are not those that were announced.
            ConditionNotMet: the object that is there is not as the conditions say.

        """
        self._check_upload(principal, arriving.upload)
        return self._put(arriving, arriving.upload)

    @full_disk_reported()
    def finish(self, principal: Principal, arriving: Arriving) -> ObjectMetadata:
        """As `keep`, for an upload in several pieces; once that is done, the object that it has become.

        Raises:
            TuningforkError: as `keep`; ObjectNotFound: the object is gone.

        """
        upload = arriving.upload
        if upload.done:
            return self.find(principal, upload.bucket, upload.key)
        metadata = self.keep(principal, arriving)
        self._uploads.done(arriving, metadata.generation)
        return metadata

    def _put(self, arriving: Arriving, upload: Upload) -> ObjectMetadata:
        found = arriving.checksumming().result()
        _check_same(upload, found)
        return self._objects.put(upload.bucket, upload.key, arriving.path, found, upload.properties, upload.conditions)

    def _check_upload(self, principal: Principal, upload: Upload) -> None:
        self._check_writable(principal, upload.bucket)
        segments_of(upload.key)

    def _check_writable(self, principal: Principal, bucket: str) -> None:
        if not self.bucket(principal, bucket).is_writable_by(principal):
            raise BucketReadOnly(bucket)

    @staticmethod
    def _check_project(principal: Principal, project: str) -> None:
        if not may_use(principal, project):
            raise ProjectDenied(project)

    def _check_room(self, size: int, directory: Path | None = None) -> None:
        wanted = directory or self._records.root
        place = next(each for each in (wanted, *wanted.parents) if each.exists())
        room = max(0, self._free(place) - SPARE_BYTES)
        if size > room:
            raise ResourceExhausted(
                f"{size:,} bytes are to be written, and the server's disk has room for {room:,}. Try again when its "
                "operator has made room, for example by deleting objects or tuned models that nobody needs."
            )


def _check_same(upload: Upload, found: Checksums) -> None:
    if upload.crc32c and upload.crc32c != found.crc32c:
        raise ChecksumsDiffer("crc32c", upload.crc32c, found.crc32c)
    if upload.md5 and upload.md5 != found.md5:
        raise ChecksumsDiffer("md5", upload.md5, found.md5)
