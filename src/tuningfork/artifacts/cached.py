"""Artifacts of a remote store, downloaded into a bounded cache on the local disk.

The transport implements `ObjectStore`: objects under keys, as in a bucket. Keys are the paths of `LocalArtifactStore`,
so that a server can offer its root directory as objects.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.artifacts.durable import remove
from tuningfork.artifacts.manifest import DIRECTORY, FileEntry, Manifest, file_key, manifest_key
from tuningfork.domain.artifact import ArtifactRef


class ObjectStore(Protocol):
    """Objects of bytes under keys. Thread-safe. Every method raises `OSError` when the transport fails."""

    def get(self, key: str) -> Iterator[bytes]:
        """The object's bytes in pieces.

        Raises:
            FileNotFoundError: there is no such object.

        """
        ...

    def put(self, key: str, content: Iterator[bytes]) -> None:
        """Store an object, replacing an earlier one. On return it is durable; no reader sees an incomplete object."""
        ...

    def keys(self, prefix: str) -> Sequence[str]:
        """The keys that begin with the prefix."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        ...


@dataclass(slots=True)
class _Cached:
    """An artifact in the cache, and how many readers use it."""

    manifest: Manifest
    path: Path
    readers: int = 0


_PIECE_BYTES = 1 << 20
_MARK = "cache-of-artifacts"
"""An empty file by which a cache is told from a directory of somebody's files."""


class CachedArtifactStore:
    """Implements `artifacts.base.ArtifactStore` over objects elsewhere.

    The cache begins empty. An artifact is downloaded to a temporary name, checked against its manifest and renamed, so
    that no reader sees an incomplete one. The least recently used artifacts are evicted first. An artifact in use is
    never evicted, even if the cache exceeds its size.

    Args:
        objects: where the artifacts are.
        root: a directory that belongs to this store alone; what an earlier cache left in it is removed.
        max_bytes: how much of artifacts that nobody uses is kept, together with those in use.

    Raises:
        FileExistsError: `root` holds files, and no cache was ever there; nothing was removed.

    """

    def __init__(self, objects: ObjectStore, root: Path, max_bytes: int) -> None:
        self._objects = objects
        self._root = root
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._fetching: dict[ArtifactRef, threading.Lock] = {}
        # In order of use, the least recently used first.
        self._cached: OrderedDict[ArtifactRef, _Cached] = OrderedDict()
        _make_empty(root)

    @property
    def cached_bytes(self) -> int:
        """The size of all cached artifacts in bytes."""
        with self._lock:
            return self._size()

    @contextmanager
    def reading(self, ref: ArtifactRef, *, verified: bool = False) -> Iterator[Path]:  # noqa: ARG002
        """See `ArtifactStore.reading`. Downloads the manifest each time, and the files if they are not in the cache.

        What is downloaded is compared with its manifest in any case.
        """
        cached = self._borrow(ref)
        try:
            yield cached.path
        finally:
            with self._lock:
                cached.readers -= 1
                self._drop_if_replaced(ref, cached)
                self._evict()

    @contextmanager
    def writing(self, ref: ArtifactRef) -> Iterator[Path]:
        """See `ArtifactStore.writing`."""
        aside = self._aside()
        try:
            yield aside
            manifest = Manifest.of(aside)
            self._objects.delete(manifest_key(ref))
            for entry in manifest.files:
                self._objects.put(file_key(ref, entry), _pieces(aside / entry.name if entry.name else aside))
            self._objects.put(manifest_key(ref), iter([manifest.render().encode()]))
        finally:
            remove(aside)

    def refs_below(self, ref: ArtifactRef) -> Sequence[ArtifactRef]:
        """See `ArtifactStore.refs_below`."""
        prefix = f"{DIRECTORY}/{ref.key}/"
        names = (key.removeprefix(prefix).removesuffix(".json") for key in self._objects.keys(prefix))
        return sorted(ref.below(name) for name in names if "/" not in name)

    def has(self, ref: ArtifactRef) -> bool:
        """See `ArtifactStore.has`."""
        return manifest_key(ref) in self._objects.keys(manifest_key(ref))

    def delete(self, ref: ArtifactRef) -> None:
        """See `ArtifactStore.delete`."""
        self._objects.delete(manifest_key(ref))
        for prefix in (f"{DIRECTORY}/{ref.key}/", f"{ref.key}/"):
            for key in self._objects.keys(prefix):
                self._objects.delete(key)
        self._objects.delete(ref.key)

    def _borrow(self, ref: ArtifactRef) -> _Cached:
        with self._lock:
            fetching = self._fetching.setdefault(ref, threading.Lock())
        # If several readers need one artifact, the first downloads it, and the others wait.
        with fetching:
            manifest = self._manifest(ref)
            with self._lock:
                cached = self._cached.get(ref)
                if cached is not None and cached.manifest == manifest:
                    cached.readers += 1
                    self._cached.move_to_end(ref)
                    return cached
            path = self._fetch(ref, manifest)
            fresh = _Cached(manifest, path, readers=1)
            with self._lock:
                replaced = self._cached.pop(ref, None)
                self._cached[ref] = fresh
                if replaced is not None:
                    self._drop_if_replaced(ref, replaced)
                self._evict()
            return fresh

    def _manifest(self, ref: ArtifactRef) -> Manifest:
        try:
            return Manifest.parse(b"".join(self._objects.get(manifest_key(ref))))
        except FileNotFoundError:
            raise ArtifactMissing(ref) from None

    def _fetch(self, ref: ArtifactRef, manifest: Manifest) -> Path:
        place = self._root / uuid4().hex
        aside = self._aside()
        try:
            for entry in manifest.files:
                file = aside / entry.name if entry.name else aside
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._fetch_file(ref, entry, file)
            aside.rename(place)
        finally:
            remove(aside)
        return place

    def _fetch_file(self, ref: ArtifactRef, entry: FileEntry, file: Path) -> None:
        digest = hashlib.sha256()
        size = 0
        try:
            with file.open("wb") as local:
                for piece in self._objects.get(file_key(ref, entry)):
                    digest.update(piece)
                    size += len(piece)
                    local.write(piece)
        except FileNotFoundError:
            raise ArtifactDamaged(f"the artifact {ref} lacks its file {entry.name!r}") from None
        if size != entry.size or entry.digest not in (None, digest.hexdigest()):
            raise ArtifactDamaged(f"the file {entry.name!r} of the artifact {ref} is not the one that was written")

    def _aside(self) -> Path:
        return self._root / f"{uuid4().hex}.aside"

    def _drop_if_replaced(self, ref: ArtifactRef, cached: _Cached) -> None:
        """Remove the files of an artifact that was replaced in the cache, once no reader uses them."""
        if cached.readers == 0 and self._cached.get(ref) is not cached:
            remove(cached.path)

    def _evict(self) -> None:
        for ref, cached in [*self._cached.items()]:
            if self._size() <= self._max_bytes:
                return
            if cached.readers == 0:
                del self._cached[ref]
                remove(cached.path)

    def _size(self) -> int:
        return sum(cached.manifest.size for cached in self._cached.values())


def _make_empty(root: Path) -> None:
    """Remove an earlier cache, and nothing else that may be there by a mistake in a setting."""
    if root.is_dir() and any(root.iterdir()) and not (root / _MARK).exists():
        raise FileExistsError(f"{root} holds files and is no cache of artifacts; name an empty directory or a new one")
    remove(root)
    root.mkdir(mode=0o700, parents=True)
    (root / _MARK).touch()


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            yield piece
