"""The run that makes a tuned model: its states, its steps and what is known of its end."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.dataset import Dataset
from tuningfork.domain.errors import RpcCode
from tuningfork.domain.hyperparameters import Hyperparameters, RequestedHyperparameters
from tuningfork.domain.tuned_model import TunedModelId

JobId = NewType("JobId", str)
"""Twelve characters of [a-z0-9]; the last part of the operation's name."""


class JobState(StrEnum):
    """Where a job stands. A wish to cancel is a flag on the job, not a state."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # queued -> failed: version 0.1 ended jobs so whose base model had left the catalog. Today they wait for it.
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    # running -> queued: its trainer died or the server was restarted; it resumes from its last checkpoint.
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one optimizer step showed. `step` is 1-based; `epoch` counts completed epochs; `mean_loss` is in nats
    per trained token, the mean over the step's batch before its update.
    """

    step: int
    epoch: int
    mean_loss: float
    compute_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job ended without success, in words for its owner."""

    code: RpcCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJob:
    """One tuning run. Times are aware and in UTC; `snapshots` holds one entry a completed step, in order."""

    id: JobId
    model_id: TunedModelId
    base_model: BaseModelName
    state: JobState
    hyperparameters: Hyperparameters
    adapter: AdapterShape
    example_count: int
    seed: int
    create_time: datetime
    start_time: datetime | None = None
    complete_time: datetime | None = None
    created_by: str = ""
    """The credential that created it (`Principal.credential`), for quotas."""
    cancel_requested: bool = False
    attempts: int = 0
    """How often a trainer has taken the job up since it last completed a step."""
    error: JobError | None = None
    snapshots: tuple[Snapshot, ...] = ()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return self.hyperparameters.total_steps(self.example_count)

    @property
    def completed_steps(self) -> int:
        """Optimizer steps taken so far."""
        return self.snapshots[-1].step if self.snapshots else 0


def seed_of(
    examples: Dataset,
    hyperparameters: Hyperparameters,
    base_model: BaseModelName,
    source: TuningJob | None = None,
) -> int:
    """The seed of a job, 32 bits: the same request makes the same adapter, and another one an independent one.

    A job that goes on from a `source` is another one with each of them. A source is told by what its weights are a
    function of: its own seed, the shape of its adapter and the steps that it took.
    """
    said: tuple[object, ...] = (base_model, hyperparameters, examples)
    if source is not None:
        said = (*said, source.seed, source.adapter, source.completed_steps)
    return int.from_bytes(hashlib.sha256(repr(said).encode()).digest()[:4], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRequest:
    """What a caller asks for when creating a tuned model; None and "" are left to the service.

    Faults in it are reported under these field names (`examples[3].output`, `hyperparameters.batch_size`); the wire
    formats translate them into their own paths.
    """

    base_model: str = ""
    tuned_model_source: str = ""
    """`tunedModels/x` to go on from there instead of a base model; exactly one of the two is given."""
    examples: Dataset
    hyperparameters: RequestedHyperparameters = RequestedHyperparameters()
    tuned_model_id: str | None = None
    display_name: str = ""
    description: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reader_project_numbers: tuple[int, ...] = ()
