"""Where the objects of a server are: directories, roots of files, and object stores. Values that a process can be sent.

The operator writes each as text: `BUCKET=DIRECTORY`, `BUCKET=DIRECTORY:rw`, `s3://BUCKET=https://store.example.com`,
`gs://BUCKET=s3://BUCKET`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from tuningfork.buckets.errors import InvalidName, InvalidUri
from tuningfork.buckets.names import RESERVED, check_bucket
from tuningfork.buckets.uris import WEB, ObjectUri, Scheme, parse_uri

_WRITABLE = ":rw"
_STORES = (Scheme.GS, Scheme.S3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedBucket:
    """A directory that the operator shares as a bucket, for reading; if it is `writable`, for writing too."""

    name: str
    directory: Path
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """A bucket of an object store that this server may read.

    `endpoint` is the store's URL; None: the scheme's usual one. `held_by` is the bucket, perhaps of a store of another
    kind, whose objects this name means; None: the bucket of this name itself.
    """

    scheme: Scheme
    bucket: str
    endpoint: str | None = None
    held_by: "ObjectStore | None" = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSettings:
    """Where objects are.

    `root` has the directories of the buckets that are made here, named like them. Files at `file://` addresses are read
    below `file_roots` only, those at `http://` and `https://` addresses below `web_roots` only.
    """

    root: Path
    mapped: tuple[MappedBucket, ...] = ()
    file_roots: tuple[Path, ...] = ()
    web_roots: tuple[ObjectUri, ...] = ()
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

    Behind `=` may also stand the bucket that holds the objects: `gs://BUCKET=s3://BUCKET`, `gs://BUCKET=s3://BUCKET=URL`.

    Raises:
        ValueError: the text is none of these; the message says what is wrong.

    """
    address, _, place = text.partition("=")
    scheme, _, bucket = address.partition("://")
    if scheme not in _STORES:
        raise ValueError(f"an object store is s3://BUCKET or gs://BUCKET, with =URL behind it or not; {text!r} was")
    store = ObjectStore(scheme=Scheme(scheme), bucket=_bucket(bucket))
    if place.partition("://")[0] not in _STORES:
        return replace(store, endpoint=_endpoint(place))
    held_by = parse_store(place)
    if held_by.held_by is not None:
        raise ValueError(
            f"the bucket that holds {address} is followed by =URL of its store or by nothing; {text!r} was"
        )
    return replace(store, held_by=held_by)


def _endpoint(text: str) -> str | None:
    if text and (urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname):
        raise ValueError(f"the address of an object store is a URL such as https://store.example.com; {text!r} was")
    return text or None


def parse_web_root(text: str) -> ObjectUri:
    """An address below which files are read, as `https://HOST/PATH`, or `https://HOST`, whose `key` is "".

    Raises:
        ValueError: the text is no such address; the message says what is wrong.

    """
    bare = text.rstrip("/")
    has_path = "/" in bare.partition("://")[2]
    try:
        found = parse_uri(bare) if has_path else replace(parse_uri(f"{bare}/any"), key="")
    except InvalidUri as error:
        raise ValueError(error.message) from error
    if found.scheme not in WEB:
        raise ValueError(f"files of the web are below https://HOST/PATH or http://HOST/PATH; {text!r} was given")
    return found


def parse_file_root(text: str) -> Path:
    """A directory below which `file://` addresses are read.

    Raises:
        ValueError: the path is not absolute.

    """
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ValueError(f"a directory of file:// addresses is an absolute path; {text!r} was given")
    return path


def check_mapped(texts: list[str]) -> list[str]:
    """The shared directories as they were given.

    Raises:
        ValueError: one is none, or a bucket has two.

    """
    names = [parse_mapped(each).name for each in texts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each bucket has one directory; {', '.join(twice)} has more")
    return texts


def check_stores(texts: list[str]) -> list[str]:
    """The buckets of object stores as they were given.

    Raises:
        ValueError: one is none, or a bucket is in two stores.

    """
    names = [str(parse_store(each)) for each in texts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each bucket is in one store; {', '.join(twice)} is in more")
    return texts


def check_file_roots(texts: list[str]) -> list[str]:
    """The directories of files as they were given; `ValueError` if one is none."""
    return [text for text in texts if parse_file_root(text)]


def check_web_roots(texts: list[str]) -> list[str]:
    """The addresses of the web as they were given; `ValueError` if one is none."""
    return [text for text in texts if parse_web_root(text)]


def _bucket(name: str) -> str:
    try:
        return check_bucket(name)
    except InvalidName as error:
        raise ValueError(error.message) from error
