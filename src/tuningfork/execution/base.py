"""The seam between the service and its compute: what goes to an engine, and what comes back.

Everything here crosses process borders, so it is frozen, picklable and small: paths instead of data.
"""

import json
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tuningfork.domain.base_model import AdapterShape, BaseModel
from tuningfork.domain.dataset import Dataset, Example
from tuningfork.domain.errors import RpcCode, TuningforkError
from tuningfork.domain.generation import Chunk, Prompt, Sampling
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.preview import DatasetPreview
from tuningfork.domain.rater import Passage, RatingModel
from tuningfork.domain.safety import Assessment
from tuningfork.domain.tuning_job import JobId, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAssignment:
    """One job for a trainer.

    `dataset_path` is a JSONL file of `{"text_input", "output"}`. `work_directory` belongs to the job: checkpoints are
    kept there, and a trainer that finds one resumes from it. `checkpoint_every` is in steps; 0 keeps none.
    """

    job_id: JobId
    base: BaseModel
    dataset_path: Path
    work_directory: Path
    hyperparameters: Hyperparameters
    adapter: AdapterShape
    seed: int
    checkpoint_every: int
    initial_adapter: Path | None = None
    """The adapter that training starts from, in PEFT's format; None starts from fresh weights."""


def read_dataset(path: Path) -> Dataset:
    """The examples of an assignment's `dataset_path`, in order."""
    with path.open(encoding="utf-8") as lines:
        return tuple(Example(row["text_input"], row["output"]) for row in map(json.loads, lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The trainer has taken the job up after `step` completed steps (0: from the start).

    Snapshots after this step, which an earlier trainer may have reported, will be reported again. `snapshots` are
    those up to this step as the checkpoint remembers them: a server that died had perhaps not kept them all.
    """

    step: int
    snapshots: tuple[Snapshot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """One optimizer step is done. `tokens` counts all tokens of its batch, prompts included."""

    snapshot: Snapshot
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last step is done and the adapter lies complete in `adapter_directory` (below the work directory)."""

    adapter_directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The job was stopped between steps. The partial adapter is kept if at least one step ran, else None."""

    adapter_directory: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job cannot go on, and trying again would not help (a base that does not load, a loss that is NaN).

    With RESOURCE_EXHAUSTED it would: there was no room on the disk, and the job waits until there is some.
    """

    code: RpcCode
    message: str


TrainingEvent = Resumed | Stepped | Finished | Stopped | Failed
"""`Resumed` comes first; `Finished`, `Stopped` or `Failed` ends the stream."""


class WorkerDied(TuningforkError):
    """A child process or actor ended in the middle of its work; what it did can be done again."""

    code = RpcCode.UNAVAILABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationAssignment:
    """One request for a generator. `adapter_directory` None asks the base itself.

    Adapters are identified by their directory: its content never changes once it is in place.
    """

    base: BaseModel
    adapter_directory: Path | None
    prompt: Prompt
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRoom:
    """How much of adapters a generator keeps in memory over each base. `bytes` None: an eighth of the device's."""

    adapters: int = 1_000
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingAssignment:
    """Some texts for a rating model."""

    model: RatingModel
    passages: tuple[Passage, ...]


class Executor(Protocol):
    """Runs training and generation somewhere. Thread-safe; the async methods belong to one event loop."""

    def train(self, assignment: TrainingAssignment) -> Iterator[TrainingEvent]:
        """Run the job and yield its events as they happen; blocks between them.

        Raises:
            WorkerDied: the trainer ended before the job did; call again to resume from the last checkpoint.

        """
        ...

    def stop(self, job_id: JobId) -> None:
        """Ask for the job to stop between two steps; its stream then ends with `Stopped`. Unknown ids are ignored."""
        ...

    def warm(self, base: BaseModel) -> None:
        """Begin to load the base for generation, so that the first request need not wait. Returns at once."""
        ...

    def keep(self, base: BaseModel, adapters: Collection[Path]) -> None:
        """Keep these adapters of a base in memory from now on, and no others for this reason. Returns at once.

        Holds for generators that are started later too, after one has died.
        """
        ...

    def resident_adapters(self) -> Mapping[Path, int]:
        """The adapters that lie in memory, as far as is known at this moment, each with its size in bytes."""
        ...

    def generate(self, assignment: GenerationAssignment) -> AsyncGenerator[Chunk, int | None]:
        """Generate and yield chunks as tokens come; closing the iterator cancels the request.

        A number sent into it (`asend`) ends that candidate: nobody wants more of it, and the others go on. Chunks of it
        that were on their way may still come.

        Raises:
            InvalidArgument: the prompt is longer than the model's context.
            WorkerDied: the generator ended in the middle.

        """
        ...

    async def count_tokens(self, base: BaseModel, prompt: Prompt) -> int:
        """How many tokens the prompt is, chat template included."""
        ...

    async def preview(self, base: BaseModel, examples: Dataset, shown: int) -> DatasetPreview:
        """What the trainer would make of the examples, at least one, as it would; the first `shown` are shown.

        Holds up other requests for as long as it takes, so that large datasets come in parts.

        Raises:
            InvalidArgument: an example is no text, or the model's template refuses it.
            WorkerDied: the generator ended in the middle.

        """
        ...

    async def rate(self, assignment: RatingAssignment) -> tuple[Assessment, ...]:
        """What each passage is in the eyes of a model, in their order.

        Raises:
            InternalError: the model cannot be used, or gave no usable answer.
            WorkerDied: the rater ended in the middle.

        """
        ...

    def close(self) -> None:
        """End all workers; running jobs keep their checkpoints."""
        ...
