"""Where the objects of a server are: directories, roots of files, and object stores. Values that a process can be sent.

The operator writes each as text: `BUCKET=DIRECTORY`, `BUCKET=DIRECTORY:rw`, `s3://BUCKET=https://store.example.com`.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tuningfork.buckets.errors import InvalidName
from tuningfork.buckets.names import RESERVED, check_bucket
from tuningfork.buckets.uris import Scheme

_WRITABLE = ":rw"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedBucket:
    """A directory that the operator shares as a bucket, for reading; if it is `writable`, for writing too."""

    name: str
    directory: Path
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """A bucket of an object store that this server may read. `endpoint` is its URL; None: the scheme's usual one."""

    scheme: Scheme
    bucket: str
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSettings:
    """Where objects are.

    `root` has the directories of the buckets that are made here, named like them. Files at `file://` addresses are read
    below `file_roots` only.
    """

    root: Path
    mapped: tuple[MappedBucket, ...] = ()
    file_roots: tuple[Path, ...] = ()
    stores: tuple[ObjectStore, ...] = ()

    @property
    def server_files(self) -> Path:
        """The directory of the server's own files about buckets. No bucket can be named like it."""
        return self.root / RESERVED


def parse_mapped(text: str) -> MappedBucket:
    """A shared directory, as `BUCKET=DIRECTORY` or `BUCKET=DIRECTORY:rw`.

    Raises:
        ValueError: the text is neither; the message says what is wrong.

    """
    name, _, directory = text.partition("=")
    writable = directory.endswith(_WRITABLE)
    path = Path(directory.removesuffix(_WRITABLE)).expanduser()
    if not path.is_absolute():
        raise ValueError(
            f"a bucket is BUCKET=DIRECTORY with an absolute path, :rw behind it to let write; {text!r} was"
        )
    return MappedBucket(name=_bucket(name), directory=path, writable=writable)


def parse_store(text: str) -> ObjectStore:
    """A bucket of an object store, as `s3://BUCKET`, `gs://BUCKET`, or with `=URL` of the store behind it.

    Raises:
        ValueError: the text is none of these; the message says what is wrong.

    """
    address, _, endpoint = text.partition("=")
    scheme, _, bucket = address.partition("://")
    if scheme not in (Scheme.GS, Scheme.S3):
        raise ValueError(f"an object store is s3://BUCKET or gs://BUCKET, with =URL behind it or not; {text!r} was")
    if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise ValueError(f"the address of an object store is a URL such as https://store.example.com; {endpoint!r} was")
    return ObjectStore(scheme=Scheme(scheme), bucket=_bucket(bucket), endpoint=endpoint or None)


def _bucket(name: str) -> str:
    try:
        return check_bucket(name)
    except InvalidName as error:
        raise ValueError(error.message) from error
