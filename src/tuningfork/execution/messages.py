"""What crosses the pipe between the service's process and its workers: frozen values, never ad-hoc dictionaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.dataset import Dataset
from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.generation import Chunk, Prompt
from tuningfork.domain.preview import DatasetPreview
from tuningfork.domain.safety import Assessment
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import GenerationAssignment, RatingAssignment, TrainingAssignment, TrainingEvent


@dataclass(frozen=True, slots=True)
class Admit:
    """To a trainer: take this job up, from its checkpoint if it has one."""

    assignment: TrainingAssignment


@dataclass(frozen=True, slots=True)
class Stop:
    """To a trainer: stop this job between two steps."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class JobEvent:
    """From a trainer: something happened to a job."""

    job_id: JobId
    event: TrainingEvent


@dataclass(frozen=True, slots=True)
class Warm:
    """To a generator: load this base now."""

    base: BaseModel


@dataclass(frozen=True, slots=True)
class Keep:
    """To a generator: keep these adapters of the base in memory, and no others for this reason."""

    base: BaseModel
    adapters: frozenset[Path]


@dataclass(frozen=True, slots=True)
class Moved:
    """From a generator: these adapters have come into memory, each with its size in bytes, or left it (None)."""

    adapters: tuple[tuple[Path, int | None], ...]


@dataclass(frozen=True, slots=True)
class Generate:
    """To a generator: begin this request."""

    request_id: str
    assignment: GenerationAssignment


@dataclass(frozen=True, slots=True)
class Abandon:
    """To a generator or a rater: nobody waits for this request any more, or for this candidate of it."""

    request_id: str
    candidate: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """To a generator: how many tokens is this prompt?"""

    request_id: str
    base: BaseModel
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Preview:
    """To a generator: what would be trained on these examples? The first `shown` are shown."""

    request_id: str
    base: BaseModel
    examples: Dataset
    shown: int


@dataclass(frozen=True, slots=True)
class Generated:
    """From a generator: the next chunk of a request."""

    request_id: str
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Counted:
    """From a generator: the answer to a `Count`."""

    request_id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Previewed:
    """From a generator: the answer to a `Preview`."""

    request_id: str
    preview: DatasetPreview


@dataclass(frozen=True, slots=True)
class Ended:
    """From a generator: all candidates of a request are complete."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Rate:
    """To a rater: what are these texts?"""

    request_id: str
    assignment: RatingAssignment


@dataclass(frozen=True, slots=True)
class Rated:
    """From a rater: the answer to a `Rate`."""

    request_id: str
    assessments: tuple[Assessment, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """From a generator or a rater: a request cannot be served."""

    request_id: str
    error: TuningforkError

    @classmethod
    def of(cls, request_id: str, error: TuningforkError) -> "Refused":
        """The refusal with this error, as the class of the domain that it is a kind of.

        A class of the engines would, as it is unpickled, import torch into the server.
        """
        kind = next(each for each in type(error).__mro__ if each.__module__ == TuningforkError.__module__)
        if kind is not type(error):
            error = kind(error.message, violations=error.violations, info=error.info)
        return cls(request_id, error)


TrainerCommand = Admit | Stop
GeneratorCommand = Warm | Keep | Generate | Abandon | Count | Preview
GeneratorReport = Generated | Counted | Previewed | Ended | Refused


@dataclass(frozen=True, slots=True)
class Reports:
    """From a generator: all that a step of its engine gave, in order.

    Reading a message costs less than waking up for it: a step with thirty rows is one message. Its pieces are pickled
    as plain tuples, which takes an eighth of the time that frozen values take.
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
