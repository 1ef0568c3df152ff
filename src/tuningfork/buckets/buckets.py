"""Reads objects by their addresses, wherever they are."""

import errno
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tuningfork.buckets.configuration import BucketSettings
from tuningfork.buckets.errors import (
    SYSTEM_REFUSALS,
    BucketNotFound,
    InvalidUri,
    LineTooLong,
    ObjectNotFound,
    ServerNotPermitted,
)
from tuningfork.buckets.opening import file_below
from tuningfork.buckets.owners import BucketRecords
from tuningfork.buckets.remote import FileSystemOf, RemoteBucket, file_system_of
from tuningfork.buckets.uris import WEB, ObjectUri, Scheme, parse_uri
from tuningfork.buckets.web import WebFiles
from tuningfork.domain.errors import InternalError, TuningforkError
from tuningfork.domain.permission import Principal

logger = logging.getLogger(__name__)

MOST_LINE_BYTES = 8 * 2**20
"""The longest line that is read into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object that is there. `size` is in bytes; `updated` is when it was written."""

    uri: str
    size: int
    updated: datetime


class Buckets:
    """The objects that a server can read. Thread-safe.

    `gs://bucket/key` is a file in the bucket's directory: the one that the operator has mapped, or else
    `root/bucket/key`; if there is neither, an object of the store that the operator has named for this bucket.
    `s3://` is always such a store; `file://`, `http://` and `https://` are files below one of the allowed roots.

    Args:
        settings: where objects are; to send to another process, send these and make `Buckets` there.
        file_system: makes the file system of an object store.

    """

    def __init__(self, settings: BucketSettings, file_system: FileSystemOf = file_system_of) -> None:
        self.settings = settings
        self.records = BucketRecords(settings)
        self._stores = {(each.scheme, each.bucket): RemoteBucket(each, file_system) for each in settings.stores}

    def check(self, uri: str) -> StoredObject:
        """The object at an address, without reading it. Does not ask who may: `check_for` does.

        Raises:
            InvalidUri: the text is no address that this server reads.
            BucketNotFound: there is no such bucket.
            ObjectNotFound: there is no such object, or no plain file.
            StoreUnreachable: the object store does not answer.

        """
        found = parse_uri(uri)
        if (store := self._store_of(found)) is not None:
            size, updated = store.status(found.key)
            return StoredObject(uri=uri, size=size, updated=updated)
        with self._local(found) as (_, size, updated):
            return StoredObject(uri=uri, size=size, updated=updated)

    def check_for(self, principal: Principal, uri: str) -> StoredObject:
        """The object at an address, for a caller. What the caller may not read is not there for them.

        Raises:
            TuningforkError: as `check`.

        """
        self._check_reader(principal, uri)
        return self.check(uri)

    def may_read(self, principal: Principal, uri: str) -> bool:
        """Whether the caller may read at this address; True if nothing there is anybody's.

        What the operator has configured (mapped directories, file roots, object stores) is for everybody.

        Raises:
            InvalidUri: the text is no address that this server reads.

        """
        found = parse_uri(uri)
        if found.scheme is not Scheme.GS:
            return True
        record = self.records.find(found.bucket)
        return record is None or record.is_readable_by(principal)

    def lines(self, principal: Principal, uri: str, *, most_line_bytes: int = MOST_LINE_BYTES) -> Iterator[bytes]:
        """The lines of an object, for a caller, without their ends, while it is read; only one line is in memory.

        Close the iterator if it is not read to its end. Blank lines are lines too.

        Raises:
            LineTooLong: a line has more bytes than that.
            TuningforkError: as `open`.

        """
        found = parse_uri(uri)
        store = self._store_of(found)
        reading = _translated(found) if store is None else store.translated(found.key)
        with reading, self.open(principal, uri) as file:
            number = 0
            while line := file.readline(most_line_bytes + 2):
                number += 1
                text = line.removesuffix(b"\n").removesuffix(b"\r")
                if len(text) > most_line_bytes:
                    raise LineTooLong(uri, number, most_line_bytes)
                yield text

    @contextmanager
    def open(self, principal: Principal, uri: str) -> Iterator[BinaryIO]:
        """The object for a caller to read from its beginning; closed at the end.

        Raises:
            TuningforkError: as `check_for`.

        """
        found = parse_uri(uri)
        self._check_reader(principal, uri)
        with ExitStack() as opened:
            if (store := self._store_of(found)) is not None:
                file = opened.enter_context(store.open(found.key))
            else:
                file, _, _ = opened.enter_context(self._local(found))
            # Once more: meanwhile somebody else may have made a bucket of this name, whose file this then is.
            self._check_reader(principal, uri)
            yield file

    def _check_reader(self, principal: Principal, uri: str) -> None:
        if not self.may_read(principal, uri):
            raise BucketNotFound(parse_uri(uri).bucket)

    def _store_of(self, uri: ObjectUri) -> RemoteBucket | WebFiles | None:
        """What holds the object elsewhere; None: it is a file of this machine.

        Raises:
            InvalidUri: the operator has not named this `s3://` bucket, or allowed this address.

        """
        if uri.scheme in WEB:
            return self._web_files(uri)
        if uri.scheme is Scheme.FILE or (uri.scheme is Scheme.GS and self.records.find(uri.bucket) is not None):
            return None
        store = self._stores.get((uri.scheme, uri.bucket))
        if store is None and uri.scheme is Scheme.S3:
            raise InvalidUri(
                f"This server does not read s3://{uri.bucket}; its operator can name it in TUNINGFORK_OBJECT_STORES."
            )
        return store

    def _web_files(self, uri: ObjectUri) -> WebFiles:
        if any(str(uri).startswith(f"{str(root).rstrip('/')}/") for root in self.settings.web_roots):
            return WebFiles(uri.scheme, uri.bucket)
        raise InvalidUri(
            f"This server does not read {uri.scheme}://{uri.bucket} there; its operator can allow addresses in "
            "TUNINGFORK_WEB_ROOTS."
        )

    @contextmanager
    def _local(self, uri: ObjectUri) -> Iterator[tuple[BinaryIO, int, datetime]]:
        root, names = self._place(uri)
        with ExitStack() as opened:
            with _translated(uri):
                file, status = opened.enter_context(file_below(root, names))
            yield file, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)

    def _place(self, uri: ObjectUri) -> tuple[Path, tuple[str, ...]]:
        """The directory that an address may not leave, and the names below it."""
        if uri.scheme is Scheme.GS:
            if self.records.find(uri.bucket) is None:
                raise BucketNotFound(uri.bucket)
            return self.records.directory_of(uri.bucket), uri.segments
        for root in self.settings.file_roots:
            parts = root.parts[1:]
            if uri.segments[: len(parts)] == parts and len(uri.segments) > len(parts):
                return root, uri.segments[len(parts) :]
        raise InvalidUri(
            "This server reads no file:// address there; its operator can allow directories in TUNINGFORK_FILE_ROOTS."
        )


@contextmanager
def _translated(uri: ObjectUri) -> Iterator[None]:
    """Within the `with` block, replace errors of the file system, whose messages have the server's paths."""
    try:
        yield
    except TuningforkError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectNotFound(uri.bucket, uri.key) from error
    except OSError as error:
        # ELOOP: a symbolic link, which is not followed, is no object.
        if error.errno == errno.ELOOP:
            raise ObjectNotFound(uri.bucket, uri.key) from error
        logger.exception("%s cannot be read", uri)
        if error.errno in SYSTEM_REFUSALS:
            raise ServerNotPermitted(uri.bucket, uri.key) from error
        raise InternalError(f"{uri} cannot be read; the server's log says why.") from error
