"""The protocols between the service and its compute: what an engine is given, and what it returns.

All values may be sent from one machine to another, so they are frozen, picklable and small: references instead of data,
and never a path. Each side resolves references in its own artifact store.
"""

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, Self

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.errors import Code, TuningforkError
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.generation import Chunk, Sampling, TokenizedText
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.job_stage import Beginning
from tuningfork.domain.preview import DatasetPreview
from tuningfork.domain.rater import Passage, RatingModel
from tuningfork.domain.safety import Assessment
from tuningfork.domain.tuning_job import JobId, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAssignment:
    """One job for a trainer.

    `dataset` is a file of lines in the format of `domain/dataset_lines.py`. `work` is the reference below which the
    trainer stores all that it writes: the adapter, checkpoints and savepoints. The trainer resumes the job from the
    last savepoint there. `savepoint_every` is a number of steps; 0: no savepoints.
    """

    job_id: JobId
    base: BaseModel
    dataset: ArtifactRef
    work: ArtifactRef
    hyperparameters: Hyperparameters
    adapter: AdapterShape
    seed: int
    savepoint_every: int
    initial_adapter: ArtifactRef | None = None
    """The adapter that training starts from, in PEFT's format. None: training starts from new weights."""
    validation: ArtifactRef | None = None
    """The examples that the job is evaluated on, a file like `dataset`; None: the job is never evaluated."""
    evaluate_every: int = 0
    """The number of steps between evaluations. 0: the job is evaluated only after its last step."""
    checkpoints: CheckpointSchedule = CheckpointSchedule()
    keep_best: bool = False
    """Whether the trainer also keeps the checkpoint with the lowest validation loss so far."""
    early_stopping: EarlyStopping | None = None
    """When the job ends before its last step, by its evaluations; None: never."""
    owner: str = ""
    """Whose job it is: owners have equal shares of the trainer, however many jobs each has in training."""
    model: str = ""
    """The id of the tuned model that the job makes, for the log."""

    def labels(self, action: str) -> dict[str, str]:
        """What a record of the log about this job has beside its message."""
        return {"action": action, "job": self.job_id, "model": self.model}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The trainer starts or resumes the job after `step` completed steps (0: from the beginning).

    The trainer reports later snapshots and evaluations again, even if an earlier trainer has reported them. `snapshots`
    and `evaluations` are those up to `step`, read from the savepoint: a server that died may not have stored all of
    them. An evaluation after `step` itself may be missing; the trainer reports it next.
    """

    step: int
    snapshots: tuple[Snapshot, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """One optimizer step is done. `tokens` counts all tokens of its batch, prompts included."""

    snapshot: Snapshot
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The job's validation set was evaluated. A job that resumes may report the same evaluation again."""

    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointKept:
    """The adapter as it was after `step` steps is complete; its reference is below the assignment's `work`.

    It stays there until the job has ended; one that is not on the job's schedule, until a later one has a lower
    validation loss. A job that resumes may report the same checkpoint again.
    """

    step: int
    epoch: int
    adapter: ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last step is done, or the job has stopped early, and the adapter is complete.

    Its reference is below the assignment's `work`.
    """

    adapter: ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The job was stopped between steps. `adapter` is the partially trained adapter, None if no step was completed."""

    adapter: ArtifactRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The job was paused after a complete step, and has a savepoint from which it can resume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job has failed, and trying again would not help: for example, its base does not load or its loss is NaN.

    The code RESOURCE_EXHAUSTED is the exception: the disk was full, and the job waits until there is space.
    """

    code: Code
    message: str


TrainingEvent = Resumed | Stepped | Evaluated | CheckpointKept | Finished | Stopped | Paused | Failed
"""`Resumed` comes first; one of `LAST_EVENTS` ends the stream."""

LAST_EVENTS = (Finished, Stopped, Paused, Failed)


class WorkerDied(TuningforkError):
    """A worker process died during its work; the work can be repeated."""

    code = Code.UNAVAILABLE


class WorkerStuck(WorkerDied):
    """A worker does not read its messages at the moment, so the work was not begun. The call can be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerDeath:
    """A trainer process ended without its server having asked for it.

    Args:
        id: identifies this death.
        jobs: all jobs that the trainer had.
        from_outside: another process asked the trainer to end, by a signal such as SIGTERM, so no job is the reason.
        during_probe: the trainer was making a probe, or had not said yet that it gave the probe up, so no job is the
            reason.

    """

    id: str
    jobs: frozenset[JobId]
    from_outside: bool = False
    during_probe: bool = False

    @property
    def is_blameless(self) -> bool:
        """Whether none of the jobs is the reason."""
        return self.from_outside or self.during_probe

    @property
    def is_shared(self) -> bool:
        """Whether the trainer had several jobs, so that each of them may be the reason."""
        return len(self.jobs) > 1


class TrainerDied(WorkerDied):
    """A trainer died. The message says how; `death` says which jobs it was training."""

    def __init__(self, message: str, death: TrainerDeath) -> None:
        super().__init__(message)
        self.death = death


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationAssignment:
    """One request for a generator. `adapter` None: the base answers without an adapter.

    A complete adapter's files never change, so the adapter's reference also identifies its weights in memory. `owner`
    is whoever asks: owners have equal shares of the generator, however many requests each has sent. What a request has
    computed of its prompt is used again only for requests of the same owner, unless both are `sharing_prefixes`.
    """

    base: BaseModel
    adapter: ArtifactRef | None
    prompt: Conversation
    sampling: Sampling
    owner: str = ""
    sharing_prefixes: bool = False
    stops_at_labels: bool = True
    """Whether the answer of a base without a chat template ends before the label of a next turn; False for a model that
    was trained to write such labels (`domain.turn_labels`)."""
    base_fingerprint: str | None = None
    """The fingerprint of the weights that the adapter belongs to, if the server recorded it; adapters that were trained
    here have it in their files too. None: it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterLimits:
    """How many adapters, and how many bytes of them, a generator keeps in memory for each base.

    `bytes` None: an eighth of the device's memory.
    """

    adapters: int = 1_000
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingAssignment:
    """Texts to be rated by a rating model. `owner` is on whose behalf: owners take turns."""

    model: RatingModel
    passages: tuple[Passage, ...]
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAssignment:
    """Training steps whose time is to be measured: of such examples, in such batches, with such an adapter."""

    base: BaseModel
    examples: Examples
    hyperparameters: Hyperparameters
    adapter: AdapterShape


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Measured training steps: how many, the tokens of their batches together, and how many seconds they took."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def with_step(self, tokens: int, seconds: float) -> Self:
        """These steps and one more."""
        return replace(self, steps=self.steps + 1, tokens=self.tokens + tokens, seconds=self.seconds + seconds)


class Trainers(Protocol):
    """Trains the models of tuning jobs, on this machine or another. Thread-safe."""

    def beginnings(self) -> Mapping[JobId, Beginning]:
        """The jobs that were given to a trainer and have had no event yet, by the trainer's last report."""
        ...

    def train(self, assignment: TrainingAssignment) -> Iterator[TrainingEvent]:
        """Run the job and yield its events as they happen; blocks between them.

        Raises:
            TrainerDied: the trainer died before the job ended; call again to resume from the last savepoint.
            WorkerDied: the same, if no more is known about the death; or the trainers are closed.

        """
        ...

    def stop(self, job_id: JobId) -> None:
        """Request that the job stops between two steps; its events then end with `Stopped`. Unknown ids are ignored."""
        ...

    def pause(self, job_id: JobId) -> None:
        """Request that the job writes a savepoint after its current step and stops; its events end with `Paused`.

        Unknown ids are ignored.
        """
        ...

    def probe(self, assignment: ProbeAssignment) -> Future[StepTimes | None]:
        """Begin a few steps over the base that are thrown away, to learn how long they take. Returns at once.

        There is one probe at a time, and only over a base that a trainer holds already. The result is None if there is
        no such trainer, or it makes another probe, or it has jobs, which would have to wait, or gets one meanwhile. It
        has no steps if they cannot be made, or take very long. It is `WorkerDied` if the trainer died meanwhile. The
        future cannot be cancelled.
        """
        ...

    def close(self) -> None:
        """End all trainers; running jobs keep their savepoints."""
        ...


class Generators(Protocol):
    """Answer prompts with bases and tuned models. Thread-safe; the async methods belong to one event loop."""

    def warm(self, base: BaseModel) -> None:
        """Begin to load the base for generation, so that the first request does not wait for it. Returns at once."""
        ...

    def keep(self, base: BaseModel, adapters: Collection[ArtifactRef]) -> None:
        """Pin exactly these adapters of a base: they stay in memory while unused.

        Returns at once. It also applies to a generator that is started after another has died.
        """
        ...

    def forget(self, adapters: Collection[ArtifactRef]) -> None:
        """Unload these adapters, whose models have been deleted; those in use once their requests have ended.

        Returns at once.
        """
        ...

    def resident_adapters(self) -> Mapping[ArtifactRef, int]:
        """The adapters in memory and their sizes in bytes, by the generator's last report."""
        ...

    def refused_bases(self) -> Mapping[BaseModelName, str]:
        """The bases that cannot be used because of what their files did, and why, by the generator's last report."""
        ...

    def generate(self, assignment: GenerationAssignment) -> AsyncGenerator[Chunk, int | None]:
        """Generate and yield chunks as tokens come; closing the iterator cancels the request.

        Sending a candidate's number (`asend`) ends that candidate only; chunks that the generator has sent before may
        still arrive.

        Raises:
            InvalidArgument: the prompt is longer than the model's context.
            WorkerDied: the generator died meanwhile.

        """
        ...

    async def count_tokens(self, base: BaseModel, prompt: Conversation, *, owner: str = "") -> int:
        """How many tokens the prompt is, chat template included. `owner`: see `GenerationAssignment`."""
        ...

    async def tokenize(self, base: BaseModel, texts: Sequence[str], *, owner: str = "") -> tuple[TokenizedText, ...]:
        """The tokens of each text, without a chat template. Errors and `owner` are as in `preview`."""
        ...

    async def preview(self, base: BaseModel, examples: Examples, shown: int, *, owner: str = "") -> DatasetPreview:
        """Measure the examples, at least one, as the trainer would render them, and show the first `shown`.

        Other long prompts wait meanwhile, so callers split large datasets into several calls. `owner`: see
        `GenerationAssignment`.

        Raises:
            InvalidArgument: an example cannot be encoded, or the model's template refuses it.
            WorkerDied: the generator died meanwhile.

        """
        ...

    async def try_adapter(self, base: BaseModel, adapter: ArtifactRef, *, owner: str = "") -> None:
        """Check that an adapter that was trained elsewhere can be loaded on the base; the base is loaded for it.

        Raises:
            InvalidArgument: the adapter was made for another base, or cannot be read.
            BaseUnusable: the base cannot be loaded.
            WorkerDied: the generator died meanwhile.

        """
        ...

    def close(self) -> None:
        """End all generators; requests that they are answering end with `WorkerDied`."""
        ...


class Raters(Protocol):
    """Rate texts for harm with a model. `close` may be called in any thread, `rate` in the server's event loop only."""

    async def rate(self, assignment: RatingAssignment) -> tuple[Assessment, ...]:
        """The model's assessment of each passage, in their order.

        Raises:
            InternalError: the model cannot be used, or gave no usable answer.
            WorkerDied: the rater died meanwhile.

        """
        ...

    def close(self) -> None:
        """End all raters; requests that they are rating end with `WorkerDied`."""
        ...
