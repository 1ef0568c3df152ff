"""Storage roots of locations: directories that data and adapters of a location's jobs never leave.

    ROOT/<server>/datasets/, work/, ...    what the data directory has of other jobs, with the same paths
    DATA_DIR/elsewhere/<job>               a link to ROOT/<server> for each job whose files are there

`<server>` is the id of the server, so that several servers may have the same root. A job's files are found by its link,
also by worker processes, which know the data directory alone.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuningfork.artifacts.durable import entries_of, sync_together
from tuningfork.artifacts.local import ASIDE, ELSEWHERE
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.tuned_model import DEFAULT_LOCATION
from tuningfork.domain.tuning_job import JobId
from tuningfork.store.disk_probe import refusal_of
from tuningfork.store.job_refs import DATASETS, KINDS

_LOCATION = re.compile(r"[a-z0-9][a-z0-9-]*")
_JOB_ID = re.compile(r"[a-z0-9]+")
"""The form of a job's id. Other names in the directories, such as the operating system's files, are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A location, and the directory of its storage root."""

    location: str
    directory: Path


class StaysInRegion(FailedPrecondition):
    """A job would take an adapter out of the storage root of its location."""

    def __init__(self) -> None:
        super().__init__(
            "The adapter of this tuned model must not leave the location of its job, and the new job's files would be "
            "kept elsewhere. Create the job in the same location."
        )


def parse_region(text: str) -> Region:
    """The region that LOCATION=DIRECTORY describes.

    Raises:
        ValueError: the text does not describe one.

    """
    location, _, directory = text.partition("=")
    path = Path(directory).expanduser()
    if not _LOCATION.fullmatch(location) or not directory or not path.is_absolute():
        raise ValueError(f"a region is LOCATION=DIRECTORY with an absolute path, as europe-west4=/srv/eu; not {text!r}")
    if location == DEFAULT_LOCATION:
        raise ValueError(
            f"{location} is the location of what is made without one, which is kept in the data directory; name another"
        )
    return Region(location=location, directory=path)


def check_regions(texts: list[str]) -> list[str]:
    """The texts, if each describes another location's root.

    Raises:
        ValueError: one does not, or two have the same location, or directories of which one holds the other.

    """
    regions = [parse_region(text) for text in texts]
    locations = [each.location for each in regions]
    if twice := sorted({each for each in locations if locations.count(each) > 1}):
        raise ValueError(f"each location has one directory; {', '.join(twice)} has more")
    for one in regions:
        for other in regions:
            if one is not other and one.directory.is_relative_to(other.directory):
                raise ValueError(f"{one.directory} is in the directory of another location; name one outside of it")
    return texts


class Roots:
    """The directories of one server in which files of jobs are: the data directory, and those of its regions.

    `root` is the data directory, `regions`, by location, the directory of this server below its storage root. They are
    created, and jobs that are found there have links afterwards, also in a data directory that was restored.
    """

    def __init__(self, root: Path, regions: Mapping[str, Path]) -> None:
        self._root = root
        self._regions = dict(regions)
        for directory in (root, *self._regions.values()):
            # Readable by the server's user only, as all that is made in it.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind in KINDS:
                (directory / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in self._regions.values():
            for job_id in jobs_below(directory):
                self._link(job_id, directory)

    def refusal(self) -> str | None:
        """Why nothing can be written to one of the directories at the moment; None: all can be written to."""
        if (reason := refusal_of(self._root, "the data directory")) is not None:
            return reason
        for location, directory in self._regions.items():
            if (reason := refusal_of(directory, "its directory")) is not None:
                return f"location {location}: {reason}"
        return None

    def settle(self, job_id: JobId, location: str) -> None:
        """Let the files of a new job be below its location's root, if that has one."""
        if location in self._regions:
            self._link(job_id, self._regions[location])

    def is_elsewhere(self, job_id: JobId) -> bool:
        """Whether the job's files are not in the data directory."""
        return (self._root / ELSEWHERE / job_id).is_symlink()

    def job_ids(self, kinds: Collection[str]) -> set[JobId]:
        """The jobs with a file, even an incomplete one, of these kinds, below any root."""
        roots = {self._root, *self._regions.values(), *linked_roots(self._root)}
        return {job_id for root in roots for job_id in jobs_below(root, kinds)}

    def _link(self, job_id: JobId, directory: Path) -> None:
        link = self._root / ELSEWHERE / job_id
        if link.is_symlink() and link.readlink() == directory:
            return
        link.parent.mkdir(mode=0o700, exist_ok=True)
        aside = link.with_suffix(ASIDE)
        aside.unlink(missing_ok=True)
        aside.symlink_to(directory)
        aside.rename(link)
        sync_together([link.parent, self._root])


def linked_roots(root: Path) -> set[Path]:
    """The directories that the links of a data directory lead to, whether or not they are there."""
    return {path.readlink() for path in entries_of(root / ELSEWHERE) if path.is_symlink()}


def jobs_below(root: Path, kinds: Collection[str] = KINDS) -> set[JobId]:
    """Every job that has a file in this directory, incomplete files included; none if there is no directory."""
    paths = (path for kind in kinds if (root / kind).is_dir() for path in (root / kind).iterdir())
    # An incomplete dataset does not belong to a job yet.
    names = (path.name.partition(".")[0] for path in paths if (path.parent.name, path.suffix) != (DATASETS, ASIDE))
    return {JobId(name) for name in names if _JOB_ID.fullmatch(name)}
