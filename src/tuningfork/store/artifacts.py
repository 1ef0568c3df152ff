"""The artifact directory: datasets, the trainers' work, and finished adapters, all named by their job.

    datasets/<job>.jsonl     written before the job's row, so that no acknowledged job lacks its data
    work/<job>/              the trainer's: checkpoints, and the adapter until it is put into place
    work/<job>/source/       what a job goes on from, kept before the job's row, so that its origin may be deleted
    adapters/<job>/          put into place before the model's row says ACTIVE; never changed afterwards

Names end in their place only when they are complete and on the disk, so a crash leaves a file whole or absent. What it
can leave is a file without a row; `sweep` removes those. Rows never lack files.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from tuningfork.domain.dataset import Dataset
from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.tuning_job import JobId
from tuningfork.store.full_disk import told_of_full_disk
from tuningfork.store.tuned_models import IdTaken

_ASIDE = ".aside"
_SOURCE = "source"
_PROBE = ".probe"
_PROBE_BYTES = 1 << 20
"""So little room is none: a dataset, a step's row and the database's log want some each."""


class Artifacts:
    """The files of one server. Creates its directories below `root`, readable by the server's user only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._datasets = root / "datasets"
        self._work = root / "work"
        self._adapters = root / "adapters"
        for directory in (self._datasets, self._work, self._adapters):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def dataset_path(self, job_id: JobId) -> Path:
        """Where the job's examples are."""
        return self._datasets / f"{job_id}.jsonl"

    def work_directory(self, job_id: JobId) -> Path:
        """What belongs to the job's trainer; it may not exist yet."""
        return self._work / job_id

    def adapter_directory(self, job_id: JobId) -> Path:
        """Where the job's adapter is, once it is finished."""
        return self._adapters / job_id

    @told_of_full_disk()
    def write_dataset(self, job_id: JobId, examples: Dataset) -> Path:
        """Keep the examples, a JSON object a line; on return they are on the disk.

        Raises:
            IdTaken: another job of this id has its examples there.
            ResourceExhausted: the disk is full.

        """
        path = self.dataset_path(job_id)
        if path.exists():
            raise IdTaken(job_id)
        aside = path.with_suffix(_ASIDE)
        try:
            with aside.open("w", encoding="ascii") as lines:
                for example in examples:
                    # ASCII only, so that a line separator inside of a text can never end a line.
                    lines.write(json.dumps({"text_input": example.text_input, "output": example.output}) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
            aside.rename(path)
        finally:
            aside.unlink(missing_ok=True)
        _sync(self._datasets)
        return path

    def source_directory(self, job_id: JobId) -> Path:
        """Where the adapter is that the job goes on from, if it goes on from one."""
        return self._work / job_id / _SOURCE

    @told_of_full_disk()
    def keep_source(self, job_id: JobId, origin: JobId) -> bool:
        """Keep another job's finished adapter for this one to go on from; on return it is on the disk.

        Files never change, so they are shared with the other job where the file system can do that.

        Returns:
            Whether there is an adapter to keep. If the other job is deleted at the same time, what was kept may lack
            files: it is whole for certain only if that job is still known afterwards.

        Raises:
            ResourceExhausted: the disk is full.

        """
        place = self.source_directory(job_id)
        aside = place.with_suffix(_ASIDE)
        self.prepare_work(job_id)
        aside.mkdir(mode=0o700)
        try:
            for file in self.adapter_directory(origin).iterdir():
                _share(file, aside / file.name)
        except FileNotFoundError:
            shutil.rmtree(aside)
            return False
        _sync_tree(aside)
        aside.rename(place)
        _sync(place.parent)
        return True

    def refusal(self) -> str | None:
        """Why nothing can be written here at the moment; None if it can."""
        probe = self._root / _PROBE
        try:
            with told_of_full_disk():
                probe.write_bytes(bytes(_PROBE_BYTES))
        except ResourceExhausted as error:
            return error.message
        except OSError as error:
            return f"nothing can be written to the data directory: {error.strerror}"
        finally:
            probe.unlink(missing_ok=True)
        return None

    def install_adapter(self, job_id: JobId, finished: Path) -> Path:
        """Move a complete adapter into place; on return it is on the disk.

        One that is there already comes from a finish that a crash cut short. Nobody has been told of it, and the
        repeated finish replaces it.
        """
        place = self.adapter_directory(job_id)
        _sync_tree(finished)
        if place.exists():
            shutil.rmtree(place)
        finished.rename(place)
        _sync(self._adapters)
        return place

    @told_of_full_disk()
    def prepare_work(self, job_id: JobId) -> Path:
        """Make sure that the job's work directory exists; what an earlier trainer left in it stays."""
        directory = self.work_directory(job_id)
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def discard_work(self, job_id: JobId) -> None:
        """Remove what the job's trainer left."""
        shutil.rmtree(self.work_directory(job_id), ignore_errors=True)

    def discard_adapter(self, job_id: JobId) -> None:
        """Remove the job's adapter."""
        shutil.rmtree(self.adapter_directory(job_id), ignore_errors=True)

    def delete(self, job_id: JobId, *, keep_work: bool = False) -> None:
        """Remove everything of the job; what is not there is not missed.

        `keep_work` leaves the work directory to a trainer that is still in it, and that would stumble.
        """
        self.dataset_path(job_id).unlink(missing_ok=True)
        self.discard_adapter(job_id)
        if not keep_work:
            self.discard_work(job_id)

    def job_ids(self) -> set[JobId]:
        """Every job that has a file here, half-written ones included."""
        return {JobId(path.name.partition(".")[0]) for path in self._entries()}

    def sweep(self, known: Collection[JobId]) -> list[JobId]:
        """Remove the files of all jobs but these, and what was never completed. Returns whose files went.

        Only before requests are served: a dataset is written before its job is known.
        """
        for aside in self._datasets.glob(f"*{_ASIDE}"):
            aside.unlink()
        orphans = sorted(self.job_ids() - set(known))
        for job_id in orphans:
            self.delete(job_id)
        return orphans

    def _entries(self) -> Iterator[Path]:
        for directory in (self._datasets, self._work, self._adapters):
            yield from directory.iterdir()


def _share(file: Path, place: Path) -> None:
    """Give a file another name, or where that cannot be, another copy."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)


def _sync(directory: Path) -> None:
    """Put a directory's entries on the disk; a rename alone may wait in memory."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as content:
                os.fsync(content.fileno())
        elif path.is_dir():
            _sync(path)
    _sync(directory)
