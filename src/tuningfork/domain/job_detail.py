"""Everything that there is to show of one tuning job: its place in the queue, its losses, events and settings."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.failure import Failure
from tuningfork.domain.findings import Finding
from tuningfork.domain.job_stage import StagedJob
from tuningfork.domain.permission import Email, Role
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.domain.tuning_job import JobState, Snapshot, TuningJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of a job's state. `reason` is a part of a sentence, or sentences; "": none was recorded."""

    source: JobState
    target: JobState
    time: datetime
    reason: str = ""


class EventKind(StrEnum):
    """What has happened to a job."""

    CREATED = "CREATED"
    PREPARED = "PREPARED"
    """Its examples have been read from a bucket, and it waits for its turn."""
    STARTED = "STARTED"
    """A trainer was given it for the first time."""
    WAITS_AGAIN = "WAITS_AGAIN"
    """It waits for its turn again, since its trainer died, the server was restarted, or another owner had a turn."""
    RESUMED = "RESUMED"
    """A trainer was given it again."""
    CHECKPOINT = "CHECKPOINT"
    """A checkpoint was kept."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One thing that has happened to a job. `step`: after how many steps; None: that is not known."""

    kind: EventKind
    time: datetime
    message: str = ""
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """Where a waiting job stands in the order in which this server takes jobs up.

    `position` counts from 1; None: this server cannot train it, and `waits_for` says why, as the rest of a sentence.
    `start_seconds` is in about how many seconds it starts, as far as it depends on jobs in training alone; None: that
    is not known. `waiting_jobs` counts all jobs that wait, also to be prepared, and `running_jobs` those in training on
    all servers.
    """

    position: int | None
    waiting_jobs: int
    running_jobs: int
    start_seconds: float | None = None
    waits_for: str = ""

    @property
    def jobs_ahead(self) -> int | None:
        """How many waiting jobs are taken up before it."""
        return None if self.position is None else self.position - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NextPlace:
    """Where a job would stand that is created now.

    `jobs_ahead` are those that wait. `start_seconds` is about how long it would wait, as far as that depends on jobs in
    training alone; None: nobody knows.
    """

    jobs_ahead: int
    start_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a job as it is used. `is_default`: it is what is used if nothing is chosen; None: nobody knows."""

    name: str
    value: float | int | bool | str
    is_default: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail:
    """One tuned model with everything about the job that makes it, as it was at `time`.

    `owner` is the address of the model's owner, "" if it has none; `role` is the caller's. `last_report` is when the
    trainer last reported a step. `best` and `latest` are evaluations on the validation set. `stopped_early` says where
    and why it has stopped before its last step; "": it has not.
    """

    time: datetime
    model: TunedModel
    staged: StagedJob
    owner: Email
    role: Role
    place: QueuePlace | None
    last_report: datetime | None
    lowest: Snapshot | None
    latest: Evaluation | None
    best: Evaluation | None
    stopped_early: str
    failure: Failure | None
    findings: tuple[Finding, ...]
    events: tuple[JobEvent, ...]
    settings: tuple[Setting, ...]

    @property
    def job(self) -> TuningJob:
        """The job."""
        return self.staged.job
