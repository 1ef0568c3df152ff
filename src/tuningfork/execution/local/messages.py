"""The messages between the service's process and its workers: frozen dataclasses, never dictionaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from tuningfork.artifacts.base import ArtifactDamaged
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.generation import Chunk, TokenizedText
from tuningfork.domain.preview import DatasetPreview
from tuningfork.domain.safety import Assessment
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    GenerationAssignment,
    ProbeAssignment,
    RatingAssignment,
    StepTimes,
    TrainingAssignment,
    TrainingEvent,
)

_KEPT = {TuningforkError.__module__, ArtifactDamaged.__module__}
"""The modules whose error classes cross the pipe as they are."""


@dataclass(frozen=True, slots=True)
class Admit:
    """To a trainer: start this job, or resume it from its savepoint."""

    assignment: TrainingAssignment


@dataclass(frozen=True, slots=True)
class Stop:
    """To a trainer: stop this job between two steps."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Pause:
    """To a trainer: after this job's current step write a savepoint, and stop the job."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Ping:
    """To any worker: answer with a `Pong` at once, even during other work."""


@dataclass(frozen=True, slots=True)
class Pong:
    """From any worker: the answer to a `Ping`."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """From any worker: the error because of which it exits."""

    said: str


@dataclass(frozen=True, slots=True)
class Probe:
    """To a trainer: make a few steps of this kind, and tell how long they took."""

    request_id: str
    assignment: ProbeAssignment


@dataclass(frozen=True, slots=True)
class Probed:
    """From a trainer: the answer to a `Probe`.

    `times` None: the trainer has jobs or another probe, or does not hold the base. Times without steps: the trainer
    cannot make the steps.
    """

    request_id: str
    times: StepTimes | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """From a trainer: something happened to a job."""

    job_id: JobId
    event: TrainingEvent


@dataclass(frozen=True, slots=True)
class LoadingBase:
    """From a trainer: it begins to load this base, which the job needs, or to read its files. The job's next event ends
    that.
    """

    job_id: JobId
    base: BaseModelName


@dataclass(frozen=True, slots=True)
class HeldUp:
    """From a trainer: it cannot take a job up at the moment, and tries again. `reason` says why, as "memory is short".

    The job's next event, or a `LoadingBase`, ends that.
    """

    job_id: JobId
    reason: str


@dataclass(frozen=True, slots=True)
class Warm:
    """To a generator: load this base now."""

    base: BaseModel


@dataclass(frozen=True, slots=True)
class Keep:
    """To a generator: pin exactly these adapters of the base in memory."""

    base: BaseModel
    adapters: frozenset[ArtifactRef]


@dataclass(frozen=True, slots=True)
class Forget:
    """To a generator: unload these adapters as soon as no request uses them."""

    adapters: frozenset[ArtifactRef]


@dataclass(frozen=True, slots=True)
class Moved:
    """From a generator: these adapters were loaded (the number is the size in bytes) or unloaded (None)."""

    adapters: tuple[tuple[ArtifactRef, int | None], ...]


@dataclass(frozen=True, slots=True)
class RefusedBases:
    """From a generator: the bases that it refuses now, because of what their files did, and why."""

    reasons: tuple[tuple[BaseModelName, str], ...]


@dataclass(frozen=True, slots=True)
class OfRequest:
    """A message about one request to a generator or a rater: `request_id` tells it from others."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Generate(OfRequest):
    """To a generator: begin this request."""

    assignment: GenerationAssignment


@dataclass(frozen=True, slots=True)
class Abandon(OfRequest):
    """To a generator or a rater: drop this request, or this candidate of it."""

    candidate: int | None = None


@dataclass(frozen=True, slots=True)
class Count(OfRequest):
    """To a generator: count the tokens of this prompt."""

    base: BaseModel
    prompt: Conversation
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Tokenize(OfRequest):
    """To a generator: cut these texts into tokens."""

    base: BaseModel
    texts: tuple[str, ...]
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Preview(OfRequest):
    """To a generator: measure these examples as training would render them, and show the first `shown`."""

    base: BaseModel
    examples: Examples
    shown: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class TryAdapter(OfRequest):
    """To a generator: check that this adapter can be loaded on the base."""

    base: BaseModel
    adapter: ArtifactRef
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Generated(OfRequest):
    """From a generator: the next chunk of a request."""

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Counted(OfRequest):
    """From a generator: how many tokens the prompt of a `Count` has."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Tokenized(OfRequest):
    """From a generator: the tokens of the texts of a `Tokenize`."""

    texts: tuple[TokenizedText, ...]


@dataclass(frozen=True, slots=True)
class Previewed(OfRequest):
    """From a generator: what it measured of the examples of a `Preview`."""

    preview: DatasetPreview


@dataclass(frozen=True, slots=True)
class Tried(OfRequest):
    """From a generator: the adapter of a `TryAdapter` can be loaded."""


@dataclass(frozen=True, slots=True)
class Ended(OfRequest):
    """From a generator: all candidates of a request are complete."""


@dataclass(frozen=True, slots=True)
class Rate(OfRequest):
    """To a rater: rate these texts."""

    assignment: RatingAssignment


@dataclass(frozen=True, slots=True)
class Rated(OfRequest):
    """From a rater: the answer to a `Rate`."""

    assessments: tuple[Assessment, ...]


@dataclass(frozen=True, slots=True)
class Refused(OfRequest):
    """From a generator or a rater: a request cannot be served."""

    error: TuningforkError

    @classmethod
    def of(cls, request_id: str, error: TuningforkError) -> "Refused":
        """The refusal with this error, converted to the domain's error class that it derives from.

        Unpickling an engine's own error class would import torch into the server. Those of artifacts are kept, since
        the service tells weights that are lost by them.
        """
        kind = next(each for each in type(error).__mro__ if each.__module__ in _KEPT)
        if kind is not type(error):
            error = kind(error.message, violations=error.violations)
        return cls(request_id, error)


TrainerMessage = JobEvent | LoadingBase | HeldUp
"""What a trainer says of its jobs."""

TrainerCommand = Admit | Stop | Pause | Probe
GeneratorCommand = Warm | Keep | Forget | Generate | Abandon | Count | Tokenize | Preview | TryAdapter
GeneratorReport = Generated | Counted | Tokenized | Previewed | Tried | Ended | Refused


@dataclass(frozen=True, slots=True)
class Reports:
    """From a generator: all reports of an engine step, in order.

    Waking the server for a message takes longer than reading the message, so there is one message for all rows of a
    step. Reports are pickled as plain tuples, in an eighth of the time that dataclasses take.
    """

    reports: tuple[GeneratorReport, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _unpacked, ([_packed(report) for report in self.reports],)


_NAMES = tuple(each.name for each in fields(Chunk))
_values_of = attrgetter(*_NAMES)


def _packed(report: GeneratorReport) -> GeneratorReport | tuple[Any, ...]:
    return (report.request_id, *_values_of(report.chunk)) if isinstance(report, Generated) else report


def _unpacked(packed: Sequence[GeneratorReport | tuple[Any, ...]]) -> Reports:
    return Reports(tuple(_generated(*each) if isinstance(each, tuple) else each for each in packed))


def _generated(request_id: str, *values: Any) -> Generated:
    return Generated(request_id, Chunk(**dict(zip(_NAMES, values, strict=True))))


RaterCommand = Rate | Abandon
RaterReport = Rated | Refused
