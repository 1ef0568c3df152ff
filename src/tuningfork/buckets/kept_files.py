"""What a backup keeps of the buckets in a data directory, and what is mended when it has been put back.

    BUCKET/KEY                               an object
    .tuningfork/records/BUCKET.json          whose bucket it is
    .tuningfork/metadata/BUCKET/..           what is known of an object besides its bytes

Objects that are still arriving are not kept.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from tuningfork.buckets.configuration import BucketSettings
from tuningfork.buckets.listing import keys_below
from tuningfork.buckets.metadata import FileIdentity, MetadataFiles
from tuningfork.buckets.names import RESERVED, segments_of
from tuningfork.buckets.opening import file_below
from tuningfork.buckets.owners import BucketRecords

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def is_object(name: str) -> bool:
    """Whether this name, below the directory of buckets, is that of an object, and not of a file of the server's."""
    return not name.startswith(f"{RESERVED}/")


def kept_files(root: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Every file that a backup keeps: its name below the directory of buckets, and its content, open until the next.

    Callers may write meanwhile. Each object is whole, as it was at one moment; what is known of it belongs to it.

    Raises:
        OSError: a file cannot be read.

    """
    records = BucketRecords(BucketSettings(root=root))
    metadata = MetadataFiles(records.metadata_directory)
    for bucket in records.names():
        with _unless_gone(), records.place_of(bucket).open("rb") as record:
            yield _below(root, records.place_of(bucket)), record
        with _unless_gone():
            for key in keys_below(root / bucket):
                with _unless_gone(), file_below(root / bucket, segments_of(key)) as (file, status):
                    yield f"{bucket}/{key}", file
                    known = metadata.written_for(bucket, key, FileIdentity.of(status))
                    if known is not None:
                        yield _below(root, metadata.place_of(bucket, key)), BytesIO(known)


def mend(root: Path) -> None:
    """Make kept files that were copied to this directory what they were: empty buckets, and what is known of objects.

    Raises:
        OSError: a file cannot be read or written.

    """
    records = BucketRecords(BucketSettings(root=root))
    for record in _files_in(records.records_directory):
        (root / record.stem).mkdir(mode=0o700, exist_ok=True)
    metadata = MetadataFiles(records.metadata_directory)
    for place in _files_in(records.metadata_directory):
        known = json.loads(place.read_bytes())
        with _unless_gone(), file_below(root / known["bucket"], segments_of(known["key"])) as (_, status):
            metadata.adopt(place, FileIdentity.of(status))


def _files_in(directory: Path) -> list[Path]:
    return sorted(each for each in directory.rglob("*.json") if each.is_file())


def _below(root: Path, place: Path) -> str:
    return place.relative_to(root).as_posix()


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Pass over a file or a directory that somebody has removed or replaced meanwhile."""
    try:
        yield
    except OSError as error:
        if error.errno not in _GONE and not isinstance(error, FileNotFoundError):
            raise
