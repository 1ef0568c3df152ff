"""Checks, counts and hashes the examples of a tuning, one after the other, while they are written to the disk.

A dataset may be larger than memory, so each example is processed when it arrives.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from tuningfork.domain import held_out, hyperparameters
from tuningfork.domain.answer_kind import AnswerSurvey
from tuningfork.domain.conversation import Example
from tuningfork.domain.dataset import Examples
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_defaults import DATASETS, DatasetDefaults
from tuningfork.domain.tuning_job import SeedHash, TuningRequest
from tuningfork.domain.turn_labels import teaches_next_turn
from tuningfork.service.tuning import violations
from tuningfork.service.tuning.drafting import Origin, TrainingData
from tuningfork.service.tuning.violations import DataChecks
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.dataset_writing import StagedDataset


@dataclass(frozen=True, slots=True)
class Arriving:
    """The examples of a request and its validation set, streamed or not. `validation` None: the request has none.

    `is_streamed`: at least one of the two is streamed; then both are checked while they are read. Where a share of the
    examples is held out, `validation` is that share, and `examples` are the others.
    """

    examples: Iterable[Example]
    validation: Iterable[Example] | None
    is_streamed: bool

    @classmethod
    def of(
        cls, request: TuningRequest, examples: Iterable[Example] | None, validation: Iterable[Example] | None
    ) -> Self:
        """The examples of the given streams; where a stream is None, those in the request itself."""
        is_streamed = examples is not None or validation is not None
        if not is_streamed and request.validation is None and request.held_out_percent is not None:
            parts = held_out.split(request.examples, request.held_out_percent)
            if parts is not None:
                return cls(parts.training, parts.validation, is_streamed=False)
        return cls(
            examples=request.examples if examples is None else examples,
            validation=request.validation if validation is None else validation,
            is_streamed=is_streamed,
        )


def learned_from(request: TuningRequest) -> Examples:
    """The examples in a request that its job learns from: all but those that are held out."""
    return tuple(Arriving.of(request, None, None).examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedData:
    """The complete files of a job that has no row yet. `validation` None: the request has no validation set."""

    examples: StagedDataset
    validation: StagedDataset | None


class Intake:
    """Checks, counts and hashes the examples of one request and of its validation set.

    Args:
        request: the request, without examples that are streamed.
        origin: what the tuning starts from.
        arriving: the examples. Those of a request that streams none have been checked already.

    """

    def __init__(self, request: TuningRequest, origin: Origin, arriving: Arriving) -> None:
        self._request = request
        self._origin = origin
        self._arriving = arriving
        self._checks = DataChecks.of(request, origin.base, has_validation=arriving.validation is not None)
        self._count = self._validation_count = 0
        self._teaches_next_turn = False
        self._answers = AnswerSurvey()
        # Defaults of hyperparameters depend on the size of the dataset, and the seed on all hyperparameters.
        self._candidates = [*map(self._candidate, DATASETS)]

    @contextmanager
    def staged(self, artifacts: Artifacts) -> Iterator[StagedData]:
        """Write all examples, read one at a time, to temporary files that exist within the `with` block.

        Raises:
            ResourceExhausted: the disk is full.

        """
        with ExitStack() as files:
            examples = files.enter_context(artifacts.staged_dataset(self._examples()))
            validation = None
            if self._arriving.validation is not None:
                validation = files.enter_context(artifacts.staged_dataset(self._validation(self._arriving.validation)))
            yield StagedData(examples=examples, validation=validation)

    def read(self) -> None:
        """Read all examples without writing them."""
        for _ in self._examples():
            pass
        for _ in self._validation(self._arriving.validation or ()):
            pass

    def finish(self) -> TrainingData:
        """What the job needs to know of the examples, after the last one.

        Raises:
            InvalidArgument: everything that is wrong with the examples, and faults of the request that depend on them.

        """
        if self._arriving.is_streamed and (
            found := violations.of_streamed(self._request, self._origin.base, self._checks)
        ):
            raise InvalidArgument(violations=found)
        chosen = next(each for each in self._candidates if each.takes(self._count))
        source = self._origin.source.job if self._origin.source else None
        adapter = self._origin.adapter_of(self._request.adapter_rank)
        return TrainingData(
            count=self._count,
            hyperparameters=chosen.used,
            seed=chosen.seed.seed(source, adapter if adapter != self._origin.adapter else None),
            validation_count=self._validation_count,
            teaches_next_turn=self._teaches_next_turn,
            answers=self._answers.kind,
        )

    def _examples(self) -> Iterator[Example]:
        """Yield the training examples, each after it has been checked, counted and hashed."""
        for example in self._arriving.examples:
            self._count += 1
            self._teaches_next_turn = self._teaches_next_turn or teaches_next_turn(example)
            self._answers.add(example)
            if self._arriving.is_streamed:
                self._checks.examples.add(example)
            for candidate in self._candidates:
                if candidate.takes(self._count):
                    candidate.seed.add(example)
            yield example

    def _validation(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield the examples of the validation set, each after it has been checked and counted.

        The job's seed does not depend on them, so the validation set does not change the training.
        """
        for example in examples:
            self._validation_count += 1
            if self._arriving.is_streamed and self._checks.validation is not None:
                self._checks.validation.add(example)
            yield example

    def _candidate(self, row: DatasetDefaults) -> "_Candidate":
        base = self._origin.base.base
        count = sys.maxsize if row.most_examples is None else row.most_examples
        used = hyperparameters.resolve(self._request.hyperparameters, count, base.default_learning_rate)
        return _Candidate(row, used, SeedHash(used, base.name))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The hyperparameters and the seed if the dataset turns out to have a size of this row."""

    row: DatasetDefaults
    used: Hyperparameters
    seed: SeedHash

    def takes(self, count: int) -> bool:
        """Whether the row is for datasets of so many examples, or for larger ones too."""
        return self.row.most_examples is None or count <= self.row.most_examples
