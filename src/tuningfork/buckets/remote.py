"""Objects of object stores, read through fsspec. Only the buckets that the operator has named are read.

The stores' own libraries come with an extra. They find their credentials in the server's environment, as usual.
"""

import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from tuningfork.buckets.configuration import ObjectStore
from tuningfork.buckets.errors import ObjectNotFound, StoreUnreachable
from tuningfork.buckets.uris import Scheme
from tuningfork.domain.errors import TuningforkError

logger = logging.getLogger(__name__)

FileSystemOf = Callable[[ObjectStore], Any]
"""Makes the file system (`fsspec.AbstractFileSystem`) of a store."""

_REQUEST_SECONDS = 60
"""How long a library may take for one request, which reads a few MiB at most."""
_PIECE_BYTES = 2**20
_OPTIONS: dict[Scheme, dict[str, Any]] = {
    # s3fs tries again by itself.
    Scheme.S3: {
        "config_kwargs": {"connect_timeout": 5, "read_timeout": _REQUEST_SECONDS, "retries": {"max_attempts": 1}}
    },
    Scheme.GS: {"requests_timeout": _REQUEST_SECONDS},
}

_CHANGE_TIMES = ("LastModified", "updated", "mtime", "created")


def file_system_of(store: ObjectStore) -> Any:
    """The file system of a store, with its address if it has one of its own.

    Raises:
        StoreUnreachable: the library of this kind of store is not installed.

    """
    import fsspec  # noqa: PLC0415 - torch brings it; loaded where there is a store

    # Else gcsfs first asks for the layout of each bucket over gRPC, at an address that no emulator has: 25 to 60 s.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    options: dict[str, Any] = {"use_listings_cache": False, **_OPTIONS[store.scheme]}
    if store.endpoint is not None:
        options["endpoint_url"] = store.endpoint
    try:
        return fsspec.filesystem(store.scheme.value, **options)
    except ImportError as error:
        needed = "s3fs" if store.scheme is Scheme.S3 else "gcsfs"
        raise StoreUnreachable(
            f"Reading {store.scheme}:// needs the package {needed} on the server: `pip install tuningfork[buckets]`."
        ) from error


class RemoteBucket:
    """One bucket of an object store, or of the store that holds its objects."""

    def __init__(self, store: ObjectStore, file_system: FileSystemOf) -> None:
        self._store = store
        self._held_by = store.held_by or store
        self._file_system = file_system

    def status(self, key: str) -> tuple[int, datetime]:
        """The size of an object in bytes, and when it was written.

        Raises:
            ObjectNotFound: there is no such object.
            StoreUnreachable: the store does not answer, or refuses.

        """
        with self.translated(key):
            info = self._file_system(self._held_by).info(self._path(key))
            if info.get("type") != "file":
                raise FileNotFoundError
        return int(info["size"] or 0), _change_time(info)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """The object for reading; closed at the end.

        Raises:
            ObjectNotFound: there is no such object.
            StoreUnreachable: the store does not answer, or refuses.

        """
        with ExitStack() as opened:
            with self.translated(key):
                file = opened.enter_context(self._file_system(self._held_by).open(self._path(key), "rb"))
            # The files of object stores are raw ones: their `readline` takes no limit.
            yield cast("BinaryIO", io.BufferedReader(file, _PIECE_BYTES))

    @contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Within the `with` block, replace errors of the store while the object of this key is read."""
        try:
            yield
        except (TuningforkError, MemoryError):
            raise
        except FileNotFoundError as error:
            raise ObjectNotFound(self._store.bucket, key) from error
        except Exception as error:
            # A store that is away is an OSError to some libraries, and an error of their own to others.
            raise self._unreachable(error) from error

    def _path(self, key: str) -> str:
        return f"{self._held_by.bucket}/{key}"

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        held = "" if self._held_by is self._store else f" (which is {self._held_by})"
        logger.warning("%s%s cannot be read: %s", self._store, held, error, extra={"action": "store_unreachable"})
        return StoreUnreachable(
            f"The object store of {self._store} cannot be read at the moment; the server's log says why."
        )


def _change_time(info: dict[str, Any]) -> datetime:
    """When the object was written; now, for stores that do not tell."""
    for name in _CHANGE_TIMES:
        match info.get(name):
            case datetime() as found:
                return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
            case str(text):
                return datetime.fromisoformat(text)
            case int() | float() as seconds:
                return datetime.fromtimestamp(seconds, UTC)
    return datetime.now(UTC)
