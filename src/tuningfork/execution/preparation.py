"""The protocol between the service and the preparers, which read the data of tuning jobs before they are trained.

As in `execution/base.py`, all values may be sent from one machine to another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.data_statistics import DataStatistics
from tuningfork.domain.dataset import DatasetStatistics
from tuningfork.domain.training_rows import RowReader
from tuningfork.domain.tuning_job import JobId


class LineSource(Protocol):
    """A file of lines, wherever it is. It can be pickled, and opened in another process."""

    def lines(self) -> Iterator[bytes]:
        """Open the file and yield its lines as they are read, with or without their line breaks.

        Raises:
            TuningforkError: the file is not there or cannot be read, or a line is too long to be held in memory.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationRequest:
    """The data of one job: files of rows, which are made into files of examples.

    The files of examples are written below `work`, where they replace those of an earlier try.
    """

    job_id: JobId
    base: BaseModel
    training: LineSource
    validation: LineSource | None
    """The validation file. None: there is none."""
    read_row: RowReader
    work: ArtifactRef
    max_example_tokens: int | None = None
    """Longer examples are dropped; None: only those that do not fit the base's context."""
    max_validation_examples: int | None = None
    """A validation file with more examples is refused; None: it may have any number."""
    validation_share: float = 0.0
    """About which share of the training examples is held out as the validation set, if there is no validation file.
    Equal examples stay together, and which ones are held out does not depend on the others."""
    drop_share: float = 0.1
    """The share of a file's examples that may be dropped; if there are more, the data is refused."""
    patience_seconds: float = 60.0
    """How long the files may keep the preparer waiting in all, besides a second for every 100,000 bytes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDataset:
    """A complete file of examples below a request's `work`. `digest` is the SHA-256 of the file, in hexadecimal."""

    file: ArtifactRef
    count: int
    digest: str
    statistics: DatasetStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The data of a job is ready to be trained on. `statistics` are of the training file.

    `teaches_next_turn` says whether an answer of a training example has the label of a next turn
    (`domain.turn_labels`), `answers` which kind of answers they are.
    """

    training: PreparedDataset
    validation: PreparedDataset | None
    statistics: DataStatistics
    teaches_next_turn: bool
    answers: AnswerKind


class Preparers(Protocol):
    """Reads and checks the data of tuning jobs, on this machine or another. Thread-safe."""

    def prepare(self, request: PreparationRequest) -> Prepared:
        """Make a job's files of rows into files of examples. Blocks, for minutes if the files are large.

        Raises:
            DataFault: the data cannot be trained on.
            BaseUnusable: the base's tokenizer or chat template cannot be used.
            ResourceExhausted: the disk is full.
            Unavailable: the files kept the preparer waiting for too long, or cannot be reached at the moment.
            Cancelled: `cancel` was called.
            WorkerDied: the preparer died meanwhile, or the preparers are closed; call again to begin anew.
            TuningforkError: a file is not there, or cannot be read.

        """
        ...

    def cancel(self, job_id: JobId) -> None:
        """End the preparation of a job's data within a second. Unknown ids are ignored."""
        ...

    def close(self) -> None:
        """End all preparations."""
        ...
