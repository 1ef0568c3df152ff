"""Tuning jobs: their states, steps and errors, the seed of a job, and the request for one."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation, Example
from tuningfork.domain.data_statistics import DataStatistics
from tuningfork.domain.dataset import Examples
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.errors import Code
from tuningfork.domain.findings import FindingKind
from tuningfork.domain.hyperparameters import Hyperparameters, RequestedHyperparameters
from tuningfork.domain.objective import CrossEntropy
from tuningfork.domain.preparation import Preparation
from tuningfork.domain.references import CheckpointRef, TunedRef, UnreadableName
from tuningfork.domain.tuned_model import DEFAULT_LOCATION, TunedModelId

JobId = NewType("JobId", str)
"""The id of a job: twelve characters of [a-z0-9]; the last part of the operation's name."""


class JobState(StrEnum):
    """The state of a job. A request to cancel is a flag on the job, not a state."""

    PREPARING = "preparing"
    """Its examples are in a bucket. They wait to be read there and written to a dataset, or are being read."""
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PREPARING: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.FAILED}),
    # queued -> failed: version 0.1 failed jobs whose base model was not in the catalog any more. Now they wait for it.
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    # running -> queued: its trainer died or the server was restarted; it resumes from its last savepoint.
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The result of one optimizer step. `step` counts from 1; `epoch` is the number of completed epochs.

    `mean_loss` is the mean over the step's batch before the update, in nats for each trained token. `targets` and
    `right_targets` are those of the batch, as in `Evaluation`; both are None if an earlier version took the step.
    """

    step: int
    epoch: int
    mean_loss: float
    compute_time: datetime
    targets: int | None = None
    right_targets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job ended without success. `message` is for its owner; "": the job's state says enough."""

    code: Code
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJob:
    """One tuning job. Times are in UTC and timezone-aware.

    A job that is not prepared has no dataset yet: no examples, no steps, `NO_TRAINING`, and as its seed that of the
    weights that it goes on from (`seed_of_source`), or 0.
    A model that was imported has a job too, which trained nothing: no examples, no steps, `NO_TRAINING`, and as its
    seed a digest of the adapter.

    `snapshots` has one snapshot for each completed step, in order. It is empty unless a use case says that it reads
    them, since there may be thousands; the job's progress is also in `completed_steps` and `last_loss`.
    """

    id: JobId
    model_id: TunedModelId
    base_model: BaseModelName
    resolved_base: BaseModelName | None = None
    """The own name of the base that `base_model` meant when the job was created; see `Catalog.find`."""
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
    """How often the job has been given to a trainer since it last completed a step."""
    completed_steps: int = 0
    """Completed optimizer steps; when a job resumes, those of its savepoint."""
    last_loss: float | None = None
    """Mean loss of the last completed step, in nats for each trained token; None before the first step."""
    best_validation_loss: float | None = None
    """The lowest mean loss on its validation set so far, in nats; None: it has not been evaluated."""
    project: str = ""
    """The project of whoever created it."""
    location: str = DEFAULT_LOCATION
    checkpoints: CheckpointSchedule = CheckpointSchedule()
    validation_count: int = 0
    """Examples of its validation set; 0: it has none and is never evaluated."""
    evaluate_every: int = 0
    """Steps between two evaluations, if there is a validation set; 0: only after the last step."""
    keep_best: bool = False
    """Whether the checkpoint with the lowest validation loss is kept, and becomes its model's default."""
    early_stopping: EarlyStopping | None = None
    """When it ends before its last step; None: never. With it, `keep_best` is True."""
    teaches_next_turn: bool | None = None
    """Whether an answer in its examples, or in those of the model that it goes on from, has the label of a next turn
    (`domain.turn_labels`); None: nobody knows, as of adapters that were trained elsewhere or by earlier versions."""
    imported: bool = False
    """Whether the adapter was trained elsewhere. The job took as long as the adapter took to arrive."""
    base_fingerprint: str | None = None
    """The fingerprint of the base's weights that its adapter belongs to, if the adapter's files do not have it: it was
    trained elsewhere, or by an earlier version."""
    preparation: Preparation | None = None
    """Where its examples are; None: they came with the request."""
    is_prepared: bool = True
    """Whether its dataset has been written, so that its number of examples and hyperparameters are known."""
    request_details: Mapping[str, Any] = field(default_factory=dict)
    """What the request said that no use case needs and its dialect shows: a JSON object."""
    data_statistics: DataStatistics | None = None
    """Statistics of its examples; None: nobody has computed them."""
    error: JobError | None = None
    findings: tuple[FindingKind, ...] | None = None
    """What its losses gave reason to warn of at its end; None: it has not ended with weights, or an earlier version of
    Tuningfork ended it."""
    snapshots: tuple[Snapshot, ...] = ()

    @property
    def total_steps(self) -> int:
        """The number of optimizer steps of the whole job; 0 if it trains nothing, or nobody knows how much yet."""
        return 0 if self.imported or not self.is_prepared else self.hyperparameters.total_steps(self.example_count)

    @property
    def stopped_early(self) -> bool:
        """Whether it ended well before its last step, since its validation loss improved no more."""
        return self.state is JobState.SUCCEEDED and self.completed_steps < self.total_steps


class SeedHash:
    """Computes the seed of a job, 32 bits, from its examples one after the other.

    Two equal requests have the same seed, and so get the same adapter; different requests have independent seeds.
    """

    def __init__(self, hyperparameters: Hyperparameters, base_model: BaseModelName) -> None:
        self._objective = hyperparameters.objective
        self._digest = hashlib.sha256(f"({base_model!r}, {hyperparameters!r}, (".encode())
        self._count = 0

    def add(self, example: Example) -> None:
        """Add the next example."""
        self._count += 1
        self._digest.update(f"{', ' if self._count > 1 else ''}{_in_seed(example)}".encode())

    def seed(self, source: TuningJob | None = None, adapter: AdapterShape | None = None) -> int:
        """The seed with the examples so far.

        `source` is the job of the tuned model that this job starts from, which changes the seed; None: it starts from a
        base model. The source counts by the values that determine its weights: its seed, adapter shape and steps.
        `adapter` is the shape of the job's adapter, which changes the seed too; None: it is the base's or the source's.
        """
        digest = self._digest.copy()
        # The hashed text is `repr` of a tuple of the examples, as in version 0.1.
        digest.update(b",)" if self._count == 1 else b")")
        if self._objective != CrossEntropy():
            digest.update(f", {self._objective!r}".encode())
        if source is not None:
            digest.update(f", {source.seed!r}, {source.adapter!r}, {source.completed_steps!r}".encode())
        if adapter is not None:
            digest.update(f", {adapter!r}".encode())
        digest.update(b")")
        return int.from_bytes(digest.digest()[:4], "big")


def seed_of(
    examples: Iterable[Example],
    hyperparameters: Hyperparameters,
    base_model: BaseModelName,
    source: TuningJob | None = None,
) -> int:
    """The seed of a job with these examples; see `SeedHash`."""
    hashed = SeedHash(hyperparameters, base_model)
    for example in examples:
        hashed.add(example)
    return hashed.seed(source)


def seed_of_source(source: TuningJob) -> int:
    """32 bits that depend on the values that determine the weights of a job: its seed, adapter shape and steps."""
    facts = (source.seed, source.adapter, source.completed_steps)
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:4], "big")


def _in_seed(example: Example) -> str:
    """The text of an example that is hashed for the seed. For pairs it is the same as in version 0.1."""
    pair = example.as_pair() if isinstance(example, Conversation) else None
    return repr(example) if pair is None else f"Example(text_input={pair[0]!r}, output={pair[1]!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRequest:
    """A request to create a tuned model. For values that are None or "", the service uses defaults.

    Violations have these field names (`examples[3].output`, `hyperparameters.batch_size`); the wire formats translate
    them into their own paths.
    """

    base_model: str = ""
    source: TunedRef | CheckpointRef | UnreadableName | None = None
    """The tuned model to start from instead of a base model; exactly one of the two is given. Violations name it
    `tuned_model_source`."""
    examples: Examples = ()
    """The examples; empty if they are streamed."""
    validation: Examples | None = None
    """The examples of the validation set, of the same kind as the others and with the same checks. None: the validation
    set is streamed, or there is none."""
    hyperparameters: RequestedHyperparameters = RequestedHyperparameters()
    adapter_rank: int | None = None
    """The rank of the new adapter; None: the base's usual one, or that of the source."""
    tuned_model_id: str | None = None
    request_id: str = ""
    """The caller's id of the request: of several requests with the same id one creates a model. "": it has none."""
    display_name: str = ""
    description: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reader_project_numbers: tuple[int, ...] = ()
    checkpoints: CheckpointSchedule = CheckpointSchedule()
    evaluate_every: int | None = 0
    """Steps between two evaluations; 0: only after the last step; None: the service chooses. Above 0 it needs a
    validation set."""
    held_out_percent: float | None = None
    """This share of the examples becomes the validation set, if the request has no other and streams none."""
    keep_best: bool = False
    """Keep the checkpoint with the lowest validation loss, and make it the model's default."""
    early_stopping: EarlyStopping | None = None
    """When to end before the last step; None: never. It keeps the best checkpoint too."""
    probe_prompts: tuple[str, ...] = ()
    """What is asked before the training and after its epochs (`domain.probe_prompts`)."""
