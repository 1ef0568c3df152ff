"""Artifacts on the local disk, each at its key below one root directory. They are read in place, without a copy.

The files and their manifest are written to temporary names and synced; then the files are renamed, and last the
manifest. An artifact exists once both are renamed, so that after a crash it is complete or absent.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuningfork.artifacts.base import ArtifactMissing
from tuningfork.artifacts.durable import entries_of, remove, sync_together, tree
from tuningfork.artifacts.manifest import DIRECTORY, Manifest, manifest_key
from tuningfork.domain.artifact import ArtifactRef

ASIDE = ".aside"
"""The suffix of temporary names."""

ELSEWHERE = "elsewhere"
"""The directory with a link for each job whose artifacts are below another root than others (`store/regions.py`)."""

_ADOPTED = "adopted"


class LocalArtifactStore:
    """Implements `artifacts.base.ArtifactStore` below `root`. Several processes may use the same root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, ref: ArtifactRef) -> Path:
        """The artifact's path on the disk, whether or not it exists."""
        return self.root_of(ref) / ref.key

    def root_of(self, ref: ArtifactRef) -> Path:
        """The directory below which the artifact is: the root, or the one that the link of its job leads to.

        The second part of a reference begins with the id of a job: `datasets/JOB.jsonl`, `adapters/JOB`.
        """
        kind, _, rest = ref.key.partition("/")
        job_id = rest.partition("/")[0].partition(".")[0]
        if kind == ELSEWHERE or not job_id:
            return self.root
        try:
            return (self.root / ELSEWHERE / job_id).readlink()
        except OSError:
            return self.root

    @contextmanager
    def reading(self, ref: ArtifactRef, *, verified: bool = False) -> Iterator[Path]:
        """See `ArtifactStore.reading`. Files of a version that wrote no digests are never compared."""
        path = self.path(ref)
        try:
            manifest = Manifest.parse(self._manifest(ref).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactMissing(ref) from None
        if not path.exists():
            raise ArtifactMissing(ref)
        manifest.check_sizes(path)
        if verified:
            manifest.check_digests(path)
        yield path

    def verify(self, ref: ArtifactRef) -> None:
        """Compare the artifact's files with the digests in its manifest, which reads them whole.

        Raises:
            ArtifactMissing: there is no such artifact.
            ArtifactDamaged: its files differ from its manifest.
            OSError: they cannot be read.

        """
        with self.reading(ref) as path:
            Manifest.parse(self._manifest(ref).read_bytes()).check_digests(path)

    @contextmanager
    def writing(self, ref: ArtifactRef) -> Iterator[Path]:
        """See `ArtifactStore.writing`."""
        place = self.path(ref)
        aside = place.with_suffix(ASIDE)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_directory(aside)
        try:
            yield aside
            self.place(ref, aside, Manifest.of(aside))
        finally:
            remove(aside)

    def refs_below(self, ref: ArtifactRef) -> Sequence[ArtifactRef]:
        """See `ArtifactStore.refs_below`."""
        names = [path.stem for path in entries_of(self.root_of(ref) / DIRECTORY / ref.key) if path.suffix == ".json"]
        return sorted(found for name in names if self.has(found := ref.below(name)))

    def has(self, ref: ArtifactRef) -> bool:
        """See `ArtifactStore.has`."""
        return self._manifest(ref).exists() and self.path(ref).exists()

    def delete(self, ref: ArtifactRef) -> None:
        """See `ArtifactStore.delete`."""
        remove(self._manifest(ref))
        remove(self.root_of(ref) / DIRECTORY / ref.key)
        remove(self.path(ref))

    def move(self, ref: ArtifactRef, to: ArtifactRef) -> None:
        """Move an artifact to another reference, replacing one that is there; on return this has reached the disk.

        Raises:
            ArtifactMissing: there is no such artifact.
            ArtifactDamaged: its files differ from its manifest.

        """
        with self.reading(ref) as path:
            manifest = Manifest.parse(self._manifest(ref).read_bytes())
            self.place(to, path, manifest)
        self._manifest(ref).unlink(missing_ok=True)

    def share(self, ref: ArtifactRef, to: ArtifactRef) -> None:
        """Copy an artifact that is a directory to another reference, by hard links if the file system has them.

        Raises:
            ArtifactMissing: there is no such artifact.
            ArtifactDamaged: its files differ from its manifest, for example since it is just being deleted.

        """
        with self.reading(ref) as origin:
            manifest = Manifest.parse(self._manifest(ref).read_bytes())
            place = self.path(to)
            aside = place.with_suffix(ASIDE)
            _remove_directory(aside)
            aside.mkdir(mode=0o700, parents=True)
            try:
                for file in origin.iterdir():
                    _link_or_copy(file, aside / file.name)
                manifest.check_sizes(aside)
                self.place(to, aside, manifest)
            finally:
                remove(aside)

    def adopt(self, refs: Iterable[ArtifactRef]) -> None:
        """Write manifests for artifacts of an earlier version, which wrote none; done once for each root directory.

        That version renamed artifacts when they were complete, so all that exist are complete.
        """
        mark = self.root / DIRECTORY / _ADOPTED
        if mark.exists():
            return
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for ref in refs:
            if self.path(ref).exists() and not self.has(ref):
                self.place(ref, self.path(ref), Manifest.of(self.path(ref), with_digests=False))
        mark.mkdir(mode=0o700)
        sync_together([mark.parent])

    def _manifest(self, ref: ArtifactRef) -> Path:
        return self.root_of(ref) / manifest_key(ref)

    def place(self, ref: ArtifactRef, path: Path, manifest: Manifest) -> None:
        """Rename the file or directory at `path` to the artifact's path, then write its manifest; durable on return."""
        place, manifest_place = self.path(ref), self._manifest(ref)
        manifest_aside = manifest_place.with_name(manifest_place.name + ASIDE)
        for parent in (place.parent, manifest_place.parent):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            manifest_aside.write_text(manifest.render(), encoding="utf-8")
            sync_together([*tree(path), manifest_aside])
            if path != place:
                manifest_place.unlink(missing_ok=True)
                remove(place)
                path.rename(place)
            manifest_aside.rename(manifest_place)
        finally:
            manifest_aside.unlink(missing_ok=True)
        root = self.root_of(ref)
        sync_together({*_parents(place, root), *_parents(manifest_place, root)})


def _parents(path: Path, root: Path) -> list[Path]:
    """The directories above this path, up to the root."""
    return [parent for parent in path.parents if parent.is_relative_to(root)]


def _remove_directory(aside: Path) -> None:
    """Remove a directory that a crash left of an earlier write. A file is left: the next write overwrites it."""
    if aside.is_dir():
        shutil.rmtree(aside)


def _link_or_copy(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
