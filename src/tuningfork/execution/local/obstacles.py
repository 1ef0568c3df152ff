"""What keeps a trainer from taking a job up at the moment, and how long the job then waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import Failed
from tuningfork.modeling.memory_plan import BaseMemoryShort, MemoryShort

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
"""How long a job whose files cannot be read, or for which memory is short, waits before each further try: each time
twice as long, up to this."""

MEMORY_PATIENCE_SECONDS = 600.0
"""For how long a job waits for memory while its trainer trains no other job."""

# Unread files are not damaged: a network file system may be away, or too many files open.
PASSING = (OSError, MemoryShort, BaseMemoryShort)
"""What may be gone when the job is tried again."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a job waits: `why` for the log, `told` for the job's owner, and `action` to find it in the log by."""

    why: str
    told: str
    action: str

    @classmethod
    def of(cls, error: Exception) -> "Obstacle":
        """The obstacle that one of `PASSING` is."""
        if isinstance(error, MemoryShort | BaseMemoryShort):
            said = f"memory is short: {error.message}"
            return cls(said, said, "memory_short")
        # What the system says of files has their paths.
        return cls(f"its files cannot be read: {error}", "its files cannot be read on this server", "files_unread")


@dataclass(slots=True)
class Waits:
    """The waits of jobs, each twice as long as the one before. Called from one thread only.

    Attributes:
        memory_patience_seconds: for how long a job waits for memory while no other job is trained.
        monotonic: seconds from any beginning.

    """

    memory_patience_seconds: float = MEMORY_PATIENCE_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    _last: dict[JobId, float] = field(default_factory=dict)
    """For how many seconds these jobs have last waited."""
    _alone_since: dict[JobId, float] = field(default_factory=dict)
    """Since when memory has been short for these jobs while no other job was trained."""

    def was_longest(self, job_id: JobId) -> bool:
        """Whether the job has already waited for the longest time between two tries."""
        return self._last.get(job_id) == LONGEST_WAIT_SECONDS

    def next(self, job_id: JobId, error: Exception, *, patient: bool) -> float | None:
        """For how many seconds the job waits now; None: it has waited for memory long enough.

        `patient`: it waits however long that takes, since the trainer trains other jobs, which give memory back when
        they end; or since it has a savepoint, which would be lost with it. Else only other programs can give memory
        back, and nobody knows of those.
        """
        if patient or not isinstance(error, MemoryShort | BaseMemoryShort):
            self._alone_since.pop(job_id, None)
        elif self.monotonic() - self._alone_since.setdefault(job_id, self.monotonic()) >= self.memory_patience_seconds:
            return None
        seconds = min(2 * self._last.get(job_id, FIRST_WAIT_SECONDS / 2), LONGEST_WAIT_SECONDS)
        self._last[job_id] = seconds
        return seconds

    def forget(self, job_id: JobId) -> None:
        """The job has been taken up, or has ended."""
        self._last.pop(job_id, None)
        self._alone_since.pop(job_id, None)

    def given_up(self, error: TuningforkError) -> Failed:
        """The failure of a job that has waited for memory long enough."""
        minutes = max(1, round(self.memory_patience_seconds / 60))
        return Failed(
            code=error.code,
            message=f"{error.message}. For {minutes} minutes memory has been short while this trainer trained no other "
            "job. Tune again when other programs have ended, with a lower rank or a smaller base, or on a machine with "
            "more memory",
        )
