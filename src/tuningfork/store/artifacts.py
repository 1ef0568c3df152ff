"""The artifact directory of one server: datasets, trainers' work and finished adapters, each named by its job.

    datasets/<job>.jsonl             the examples, written before the job's row: every accepted job has its data
    datasets/<job>.validation.jsonl  the validation set, if the job has one; written before the job's row, too
    work/<job>/                      the trainer's files: savepoints, and the adapter until it is moved to adapters/
    work/<job>/savepoints/<step>/    savepoints; a trainer resumes from the last, and earlier ones are removed
    work/<job>/source/               the adapter that the job starts from: a copy, so the original may be deleted
    checkpoints/<job>/<step>-<n>/    the adapter after a step, written before its row; n is the job's claim number
    adapters/<job>/                  the adapter, moved here before the model's row becomes ACTIVE; never changed later
    staged/<dataset>/                rows that people look at before a job is made of them; see `store/staged_rows.py`
    imports/<job>/                   an adapter from elsewhere while it arrives; see `store/imports.py`
    manifests/                       a manifest of each artifact, written last; see `tuningfork.artifacts`
    elsewhere/<job>                  a link to where the job's files are, if not in this directory: `store/regions.py`
    locks/                           empty files, by which servers on one directory wait for each other
    set-aside/                       files of jobs that the database does not know; see `store/set_aside.py`

After a crash each artifact is complete or absent. A crash may leave artifacts without a row, but never a row without
its artifacts. At the next start the files of jobs that the database has deleted are removed, and files of jobs that it
does not know are moved to `set-aside`.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.artifacts.durable import entries_of
from tuningfork.artifacts.known_damage import KnownDamage
from tuningfork.artifacts.local import ELSEWHERE, LocalArtifactStore
from tuningfork.artifacts.manifest import DIRECTORY as MANIFESTS
from tuningfork.artifacts.manifest import FileEntry, Manifest, manifest_key
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Example
from tuningfork.domain.dataset import DatasetRef
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import file_locks, imports
from tuningfork.store.dataset_writing import ASIDE, StagedDataset, staged
from tuningfork.store.earlier_artifacts import earlier_artifacts
from tuningfork.store.full_disk import full_disk_reported
from tuningfork.store.job_refs import DATASETS, KINDS, JobRefs
from tuningfork.store.regions import Roots, StaysInRegion
from tuningfork.store.set_aside import set_aside
from tuningfork.store.tuned_models import IdTaken

_CHECKPOINT = re.compile(rf"\d{{8,}}-\d+({re.escape(ASIDE)})?")
"""The form of a checkpoint's name, and of the name that it has while it is written."""

"""Less free space than this, 1 MiB, counts as a full disk: datasets, rows and the database's log need some space."""


class Artifacts(JobRefs):
    """The files of one server. Creates its directories below `root`, readable by the server's user only.

    `clock` returns the time, from which folders in `set-aside` get their names. `regions`: by location, the directory
    that files of new jobs of that location never leave (`store/regions.py`). `damage` is what generators have found.
    """

    def __init__(
        self,
        root: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        regions: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self._root = root
        self._deferred: deque[ArtifactRef] = deque()
        self._clock = clock
        self.store = LocalArtifactStore(root)
        self.damage = KnownDamage()
        self._reservations = imports.Reservations()
        self._roots = Roots(root, regions)
        (root / file_locks.DIRECTORY).mkdir(mode=0o700, exist_ok=True)
        file_locks.create(root)
        self.store.adopt(earlier_artifacts(root))

    def holds(self, job_id: JobId) -> bool:
        """Whether the job's examples are in this directory. They are written before the job's row."""
        return self.store.has(self.dataset(job_id))

    def dataset_path(self, job_id: JobId) -> Path:
        """The file of the job's examples."""
        return self.store.path(self.dataset(job_id))

    def work_directory(self, job_id: JobId) -> Path:
        """The directory of the job's trainer; it may not exist yet."""
        return self.store.path(self.work(job_id))

    def adapter_directory(self, job_id: JobId) -> Path:
        """The directory of the job's adapter, once it is finished."""
        return self.store.path(self.adapter(job_id))

    @contextmanager
    def staged_dataset(self, examples: Iterable[Example], name: str = "") -> Iterator[StagedDataset]:
        """Write the examples, read one at a time, to a temporary file that exists within the `with` block.

        `name` is the file's name; "": a name that no other file has.

        Raises:
            ResourceExhausted: the disk is full.

        """
        # The lock is held until the job's row has been written, so that no start treats the file as one without a row.
        creating = file_locks.shared(self._root / file_locks.CREATIONS)
        with creating, staged(self._root / DATASETS, examples, name) as dataset:
            yield dataset

    @full_disk_reported()
    def place_dataset(
        self, dataset: StagedDataset, job_id: JobId, validation: StagedDataset | None = None
    ) -> DatasetRef:
        """Rename a staged dataset, and its validation set, to those of the job; on return this has reached the disk.

        Raises:
            IdTaken: a job with this id has a dataset already.
            ResourceExhausted: the disk is full, and the job has neither of them.

        """
        if self.dataset_path(job_id).exists():
            raise IdTaken(job_id)
        try:
            placed = self._place(dataset, self.dataset(job_id))
            if validation is not None:
                self._place(validation, self.validation(job_id))
        except OSError:
            self._forget_data(job_id)
            raise
        return placed

    def take_back_dataset(self, dataset: StagedDataset, job_id: JobId, validation: StagedDataset | None = None) -> None:
        """Undo `place_dataset`, so that the dataset and its validation set can be given to a job with another id."""
        self.dataset_path(job_id).rename(dataset.path)
        if validation is not None:
            self.store.path(self.validation(job_id)).rename(validation.path)
        self._forget_data(job_id)

    def write_dataset(self, job_id: JobId, examples: Iterable[Example]) -> Path:
        """Write a job's examples; on return they have reached the disk.

        Raises:
            IdTaken: a job with this id has a dataset already.
            ResourceExhausted: the disk is full.

        """
        with self.staged_dataset(examples, job_id) as dataset:
            self.place_dataset(dataset, job_id)
        return self.dataset_path(job_id)

    def source_directory(self, job_id: JobId) -> Path:
        """The directory of the adapter that the job starts from, if there is one."""
        return self.store.path(self.source(job_id))

    @full_disk_reported()
    def keep_source(self, job_id: JobId, origin: ArtifactRef) -> bool:
        """Copy an adapter of another job as this job's initial one; on return it has reached the disk.

        An adapter's files never change, so they are hard links where the file system allows that.

        Returns:
            Whether the other job's adapter exists; it may have been deleted at this moment.

        Raises:
            StaysInRegion: the other job's files stay below another root.
            ResourceExhausted: the disk is full.

        """
        if self.store.root_of(origin) not in (self._root, self.store.root_of(self.source(job_id))):
            raise StaysInRegion
        self.prepare_work(job_id)
        try:
            self.store.share(origin, self.source(job_id))
        except (ArtifactMissing, ArtifactDamaged, FileNotFoundError):
            return False
        return True

    def refusal(self) -> str | None:
        """Why nothing can be written to the directory, or to a region's, at the moment; None: all can be written to."""
        return self._roots.refusal()

    def install_adapter(self, job_id: JobId, finished: ArtifactRef) -> Path:
        """Move a complete adapter into place; on return it has reached the disk.

        It replaces an adapter that is there already, which was installed just before a crash, and whose row was not
        written. (An adapter that was there when the server started has been moved to `set-aside`.)
        """
        self.store.move(finished, self.adapter(job_id))
        return self.adapter_directory(job_id)

    @full_disk_reported()
    def keep_checkpoint(self, kept: ArtifactRef, checkpoint: ArtifactRef) -> None:
        """Copy an adapter of the trainer's work directory to this checkpoint; on return it has reached the disk.

        May be repeated. The adapter also stays in the work directory, so that the trainer can report it again after a
        crash.

        Raises:
            ArtifactMissing: there is no such adapter in the work directory.
            ResourceExhausted: the disk is full.

        """
        self.store.share(kept, checkpoint)

    def arriving_adapter(self, job_id: JobId) -> imports.ArrivingAdapter:
        """A new directory for an adapter from elsewhere, which the caller closes.

        Raises:
            ResourceExhausted: the disk is full.

        """
        return imports.ArrivingAdapter(self.store, job_id, self._reservations)

    def arriving_ids(self) -> set[JobId]:
        """The jobs whose rows may not have been written, since their adapters are arriving, or were at a crash."""
        return imports.arriving(self._root)

    def discard_checkpoint(self, checkpoint: ArtifactRef) -> None:
        """Remove one checkpoint."""
        self._remove(checkpoint)

    def discard_checkpoints(self, job_id: JobId, besides: Collection[str] = ()) -> None:
        """Remove the job's checkpoints, incomplete ones too, except those with the keys in `besides`."""
        place = self.checkpoints(job_id)
        names = {path.name for path in entries_of(self.store.path(place))}
        names |= {path.stem for path in entries_of(self.store.root_of(place) / MANIFESTS / place.key)}
        refs = [place.below(name) for name in sorted(names) if _CHECKPOINT.fullmatch(name)]
        unneeded = [ref for ref in refs if ref.key not in besides]
        self._remove(*([place] if unneeded == refs else unneeded))

    @full_disk_reported()
    def prepare_work(self, job_id: JobId) -> Path:
        """Create the job's work directory if it does not exist; the files of an earlier trainer stay."""
        directory = self.work_directory(job_id)
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def discard_work(self, job_id: JobId) -> None:
        """Remove the job's work directory."""
        self._remove(self.work(job_id))

    def discard_data(self, job_id: JobId) -> None:
        """Remove the data of a job that is prepared anew, since a crash came before its row said that it was."""
        self._forget_data(job_id)

    def discard_preparation(self, job_id: JobId) -> None:
        """Remove what was written to prepare a job that another server prepares. Its initial adapter stays."""
        self._forget_data(job_id)
        work = self.work(job_id)
        names = {path.name for path in entries_of(self.store.path(work))}
        kept = {self.source(job_id).name} if self.store.has(self.source(job_id)) else set()
        self._remove(*([work.below(name) for name in sorted(names - kept)] if kept else [work]))

    def discard_unfinished(self, job_id: JobId) -> None:
        """Remove the work directory of a job that ended without a step, and an adapter.

        A crash after installing an adapter and before the end of a job can have left the adapter.
        """
        self._remove(self.adapter(job_id), self.work(job_id))

    def discard_adapter(self, job_id: JobId) -> None:
        """Remove the adapter of a job that ends without one."""
        self._remove(self.adapter(job_id))

    def discard_draft(self, job_id: JobId) -> None:
        """Remove the data and the initial adapter of a job that has no row and never had one."""
        self._remove(*self.data(job_id), self.work(job_id), _link_of(job_id))

    def delete(self, job_id: JobId, *, keep_work: bool = False) -> None:
        """Remove all files of the job that exist.

        `keep_work`: leave the work directory, since a trainer is still writing to it.
        """
        refs = (*self.data(job_id), self.checkpoints(job_id), self.adapter(job_id))
        self._remove(*refs, *(() if keep_work else (self.work(job_id), _link_of(job_id))))

    def remove_deferred(self) -> None:
        """Remove the files that could not be removed while a backup was being made. Does nothing during a backup."""
        waiting = [self._deferred.popleft() for _ in range(len(self._deferred))]
        if waiting:
            self._remove(*waiting)

    def _remove(self, *refs: ArtifactRef) -> None:
        """Remove these artifacts, which no row needs any more; if a backup is being made, remove them after it."""
        with file_locks.shared_if_free(self._root / file_locks.REMOVALS) as free:
            if not free:
                self._deferred.extend(refs)
                return
            for ref in refs:
                self.store.delete(ref)

    def job_ids(self, *kinds: str) -> set[JobId]:
        """The jobs with a file, even an incomplete one, of these kinds, such as `work`; none given: of any kind."""
        return self._roots.job_ids(kinds or KINDS)

    def settle(self, job_id: JobId, location: str) -> None:
        """Let the files of a job that has none be where those of its location are kept."""
        if not any(os.path.lexists(self.store.path(ref)) for ref in self.all(job_id)):
            self._roots.settle(job_id, location)

    def is_elsewhere(self, job_id: JobId) -> bool:
        """Whether the job's files are not in the data directory, but below its location's storage root."""
        return self._roots.is_elsewhere(job_id)

    def has_adapter(self, job_id: JobId) -> bool:
        """Whether there is an adapter of the job, complete or not."""
        return self.adapter_directory(job_id).exists()

    def has_weights(self, job_id: JobId) -> bool:
        """Whether there is an adapter or a checkpoint of the job, complete or not."""
        return self.has_adapter(job_id) or self.store.path(self.checkpoints(job_id)).exists()

    def is_over(self, job_id: JobId) -> bool:
        """Whether the job has an adapter and no work directory, which holds once the database records its end."""
        return self.store.has(self.adapter(job_id)) and not self.work_directory(job_id).exists()

    def set_aside(
        self, job_ids: Collection[JobId], *, ahead: Collection[JobId] = (), recorded: Collection[str] | None = None
    ) -> Path | None:
        """Move all files of these jobs to one folder in the data directory; see `store/set_aside.py`.

        Args:
            job_ids: jobs that the database does not know.
            ahead: jobs that have not ended according to the database; only their adapters and checkpoints are moved.
            recorded: the keys of the checkpoints that the database knows, which stay; None: all checkpoints stay.

        Returns:
            The folder, the first one if jobs' files are below several roots; None: there were no such files.

        Raises:
            OSError: a file cannot be moved.

        """
        refs = [ref for job_id in job_ids for ref in self.all(job_id)]
        for job_id in ahead:
            kept = () if recorded is None else self.store.refs_below(self.checkpoints(job_id))
            refs += [self.adapter(job_id), *(ref for ref in kept if ref.key not in (recorded or ()))]
        paths = [(self.store.root_of(ref), path) for ref in refs for path in self._paths_of(ref)]
        moved = [
            set_aside(root, [path for own, path in paths if own == root], self._clock())
            for root in dict.fromkeys(root for root, _ in paths)
        ]
        self._remove(*map(_link_of, job_ids))
        return next((folder for folder in moved if folder is not None), None)

    @contextmanager
    def no_creations(self) -> Iterator[bool]:
        """Keep servers on this directory from creating jobs in the `with` block; yields False if one is doing so."""
        with file_locks.alone(self._root / file_locks.CREATIONS) as alone:
            yield alone

    def remove_unfinished(self, besides: Collection[JobId] = ()) -> None:
        """Remove datasets and adapters that never arrived whole, besides these jobs'. Only within `no_creations`."""
        for aside in (self._root / DATASETS).glob(f"*{ASIDE}"):
            aside.unlink(missing_ok=True)
        for job_id in self.arriving_ids().difference(besides):
            imports.forget(self._root, job_id)

    def _paths_of(self, ref: ArtifactRef) -> Iterator[Path]:
        """All paths of an artifact and of those below it. Manifests come first: without them, files are no artifact."""
        root = self.store.root_of(ref)
        yield root / manifest_key(ref)
        yield root / MANIFESTS / ref.key
        path = self.store.path(ref)
        yield path
        yield path.with_suffix(ASIDE)

    def _place(self, dataset: StagedDataset, ref: ArtifactRef) -> DatasetRef:
        entry = FileEntry(name="", size=dataset.path.stat().st_size, digest=dataset.digest)
        self.store.place(ref, dataset.path, Manifest((entry,)))
        return DatasetRef(artifact=ref.key, count=dataset.count, digest=dataset.digest, statistics=dataset.statistics)

    def _forget_data(self, job_id: JobId) -> None:
        """Remove the data of a job that has no row, also during a backup, which reads only what rows need."""
        for ref in self.data(job_id):
            self.store.delete(ref)


def _link_of(job_id: JobId) -> ArtifactRef:
    """The link to the root of the job's files, named as an artifact, so that it is removed after them."""
    return ArtifactRef(f"{ELSEWHERE}/{job_id}")
