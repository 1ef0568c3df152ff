"""The objects in the directories of buckets: looked at, opened, put into place, changed, removed.

Does not ask who may.
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tuningfork.buckets.checksums import Checksums, checksumming_of
from tuningfork.buckets.configuration import BucketSettings
from tuningfork.buckets.errors import (
    SYSTEM_REFUSALS,
    BucketNotFound,
    ConditionNotMet,
    InvalidName,
    ObjectNotFound,
    ServerNotPermitted,
)
from tuningfork.buckets.listing import Page, Wanted, has_objects, list_keys
from tuningfork.buckets.metadata import (
    FileIdentity,
    MetadataFiles,
    ObjectMetadata,
    Properties,
    next_generation,
    with_properties,
)
from tuningfork.buckets.names import RESERVED, segments_of
from tuningfork.buckets.opening import directory_below, file_below, status_of
from tuningfork.buckets.owners import BucketRecords

logger = logging.getLogger(__name__)

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What must hold of the object that is there before a request does anything; 0: there is none. None: anything.

    `of_generation` is the only generation that is meant, as if there were no other; 0: whichever is there.
    """

    of_generation: int = 0
    generation: int | None = None
    generation_not: int | None = None
    metageneration: int | None = None
    metageneration_not: int | None = None

    def check(self, found: ObjectMetadata | None) -> None:
        """Check them on the object that is there; None: there is none.

        Raises:
            ObjectNotFound: another generation is there than the one that is meant.
            ConditionNotMet: one does not hold.

        """
        if found is not None and self.of_generation not in (0, found.generation):
            raise ObjectNotFound(found.bucket, found.key)
        generation = 0 if found is None else found.generation
        metageneration = 0 if found is None else found.metageneration
        if (
            self.generation not in (None, generation)
            or self.generation_not == generation
            or self.metageneration not in (None, metageneration)
            or self.metageneration_not == metageneration
        ):
            raise ConditionNotMet


ANYTHING = Conditions()


class LocalObjects:
    """The objects of one server's buckets. Thread-safe; the server alone writes them."""

    def __init__(self, settings: BucketSettings, clock: Callable[[], datetime]) -> None:
        self._records = BucketRecords(settings)
        self._metadata = MetadataFiles(settings.server_files / "metadata")
        self._clock = clock
        # Held while a file and its metadata are replaced, which takes milliseconds.
        self._changing = threading.Lock()

    def find(self, bucket: str, key: str) -> ObjectMetadata:
        """An object, its checksums too: those of a file that the operator has put there are computed once.

        Raises:
            InvalidName: no object can have this key.
            ObjectNotFound: there is none.

        """
        with self.open(bucket, key) as (_, metadata):
            return metadata

    @contextmanager
    def open(self, bucket: str, key: str) -> Iterator[tuple[BinaryIO, ObjectMetadata]]:
        """An object for reading, closed at the end; it stays as it is when another takes its place.

        Raises:
            TuningforkError: as `find`.

        """
        with ExitStack() as opened:
            with self._translated(bucket, key):
                # A file and its metadata belong together only while nobody replaces them.
                with self._changing:
                    file, status = opened.enter_context(file_below(self._directory(bucket), segments_of(key)))
                    metadata = self._metadata.find(bucket, key, FileIdentity.of(status))
                if metadata.checksums is None:
                    metadata = replace(metadata, checksums=checksumming_of(file).result())
                    file.seek(0)
                    self._keep(metadata, FileIdentity.of(status))
            yield file, metadata

    def list(self, bucket: str, wanted: Wanted) -> tuple[list[ObjectMetadata], Page]:
        """One page of a bucket's objects. Checksums that nobody has computed yet are left out."""
        with self._looking(bucket):
            page = list_keys(self._directory(bucket), wanted)
        found = [each for key in page.keys if (each := self._glance(bucket, key)) is not None]
        return found, page

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket has no object."""
        with self._looking(bucket):
            return not has_objects(self._directory(bucket))

    def put(
        self,
        bucket: str,
        key: str,
        file: Path,
        checksums: Checksums,
        properties: Properties,
        conditions: Conditions = ANYTHING,
    ) -> ObjectMetadata:
        """Make the file an object, in place of an earlier one: whole, and on the disk on return.

        Raises:
            InvalidName: no object can have this key, or no file can be there beside those that are.
            BucketNotFound: there is no such bucket any more.
            ConditionNotMet: the object that is there is not as the conditions say.
            OSError: the disk is full. Nothing was changed.

        """
        segments = segments_of(key)
        _flush(file)
        with (
            self._changing,
            self._writing_at(bucket, key),
            directory_below(self._directory(bucket), segments[:-1], make=True) as at,
        ):
            before = self._found_in(at, bucket, key)
            conditions.check(before)
            _move(file, segments[-1], at)
            os.fsync(at)
            now = self._clock()
            identity = FileIdentity.of(status_of(segments[-1], at))
            metadata = ObjectMetadata(
                bucket=bucket,
                key=key,
                size=identity.size,
                generation=next_generation(None if before is None else before.generation, now),
                metageneration=1,
                created=now,
                updated=now,
                checksums=checksums,
                properties=properties,
            )
            self._metadata.write(metadata, identity)
            return metadata

    def change(
        self, bucket: str, key: str, changed: Callable[[Properties], Properties], conditions: Conditions = ANYTHING
    ) -> ObjectMetadata:
        """Change the properties of an object.

        Raises:
            ObjectNotFound: there is none.
            ConditionNotMet: it is not as the conditions say.

        """
        self.find(bucket, key)
        with self._translated(bucket, key), self._changing:
            with file_below(self._directory(bucket), segments_of(key)) as (_, status):
                identity = FileIdentity.of(status)
            before = self._metadata.find(bucket, key, identity)
            conditions.check(before)
            metadata = with_properties(before, changed(before.properties), self._clock())
            self._metadata.write(metadata, identity)
            return metadata

    def delete(self, bucket: str, key: str, conditions: Conditions = ANYTHING) -> None:
        """Remove an object, and the directories that are empty then.

        Raises:
            ObjectNotFound: there is none.
            ConditionNotMet: it is not as the conditions say.

        """
        segments, directory = segments_of(key), self._directory(bucket)
        with self._translated(bucket, key), self._changing:
            with directory_below(directory, segments[:-1]) as at:
                found = self._found_in(at, bucket, key)
                if found is None:
                    raise ObjectNotFound(bucket, key)
                conditions.check(found)
                os.unlink(segments[-1], dir_fd=at)
            self._metadata.remove(bucket, key)
            self._remove_empty(directory, segments[:-1])

    def _directory(self, bucket: str) -> Path:
        return self._records.directory_of(bucket)

    def _keep(self, metadata: ObjectMetadata, identity: FileIdentity) -> None:
        """Write metadata that were computed meanwhile, unless another file is there now."""
        segments = segments_of(metadata.key)
        with self._changing, directory_below(self._directory(metadata.bucket), segments[:-1]) as at:
            if FileIdentity.of(status_of(segments[-1], at)) == identity:
                self._metadata.write(metadata, identity)

    def _glance(self, bucket: str, key: str) -> ObjectMetadata | None:
        segments = segments_of(key)
        with suppress(OSError), self._changing, directory_below(self._directory(bucket), segments[:-1]) as at:
            return self._found_in(at, bucket, key)
        return None

    def _found_in(self, directory: int, bucket: str, key: str) -> ObjectMetadata | None:
        try:
            status = status_of(segments_of(key)[-1], directory)
        except FileNotFoundError:
            return None
        return self._metadata.find(bucket, key, FileIdentity.of(status))

    @staticmethod
    def _remove_empty(directory: Path, segments: tuple[str, ...]) -> None:
        for depth in range(len(segments), 0, -1):
            try:
                with directory_below(directory, segments[: depth - 1]) as at:
                    os.rmdir(segments[depth - 1], dir_fd=at)
            except OSError:
                return

    @staticmethod
    @contextmanager
    def _looking(bucket: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            # Somebody has removed the bucket meanwhile.
            raise BucketNotFound(bucket) from error
        except OSError as error:
            _check_permitted(error, bucket)
            raise

    @staticmethod
    @contextmanager
    def _translated(bucket: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NOT_THERE or isinstance(error, FileNotFoundError):
                raise ObjectNotFound(bucket, key) from error
            _check_permitted(error, bucket, key)
            raise

    @staticmethod
    @contextmanager
    def _writing_at(bucket: str, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            # Somebody has removed the bucket meanwhile; it is not made anew without an owner.
            raise BucketNotFound(bucket) from error
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise InvalidName(
                    f"There cannot be an object {key[:200]!r} beside those that are there: this server keeps objects "
                    "as files, and a name before a slash as a directory. Choose another name."
                ) from error
            _check_permitted(error, bucket, key)
            raise


def _check_permitted(error: OSError, bucket: str, key: str = "") -> None:
    """Raise `ServerNotPermitted` for an error by which the system refuses the server."""
    if error.errno in SYSTEM_REFUSALS:
        logger.warning("%s/%s cannot be used: %s", bucket, key, error, extra={"action": "server_not_permitted"})
        raise ServerNotPermitted(bucket, key) from error


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(file: Path, name: str, directory: int) -> None:
    """Rename the file into a directory, or copy it if this is on another disk."""
    try:
        os.rename(file, name, dst_dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = f"{RESERVED}-{os.urandom(8).hex()}"
        try:
            opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
            with os.fdopen(opened, "wb") as copy, file.open("rb") as original:
                shutil.copyfileobj(original, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
            os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(aside, dir_fd=directory)
            raise
        file.unlink()
