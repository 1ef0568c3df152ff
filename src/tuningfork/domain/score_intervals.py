"""Mean scores of several models over the same examples, with intervals by the bootstrap.

Examples are drawn again and again with replacement (Efron 1979); the middle 95 % of the means are the interval. All
models are scored on the same draws, so a difference between two of them has the spread of a paired comparison.

The bootstrap knows nothing of what it has not seen, so two cases are handled apart. Where all examples are right, or
none is, the interval is the exact one of a share (Clopper and Pearson 1934). And two models are told apart only if
their scores differ for six examples at least: of fewer, even if all favour one model, a sign test cannot exclude chance
at the 5 % level, since twice the fifth power of a half is 0.06.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuningfork.domain.answer_scores import Measure

CONFIDENCE = 0.95
DRAWS = 1_000
"""How many times the examples are drawn for final intervals."""
LEAST_DIFFERING = 6
"""How many examples must have different scores for two models to be told apart."""
_SEED = 20_220_401


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean, and the bounds between which 95 % of the bootstrap's means are."""

    mean: float
    low: float
    high: float

    @property
    def has_zero(self) -> bool:
        """Whether zero is among its values: of a difference, that it may as well be the other way round."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The score of model `first` minus that of model `second`, by their indexes.

    `differing` is the number of examples for which their scores differ.
    """

    first: int
    second: int
    measure: Measure
    interval: Interval
    differing: int

    @property
    def is_clear(self) -> bool:
        """Whether there are enough examples to tell the two apart."""
        return self.differing >= LEAST_DIFFERING and not self.interval.has_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """The scores over `example_count` examples that every model has answered.

    `means[model][measure]` has each model's; `differences` those of each two models, by each measure.
    """

    example_count: int
    means: tuple[Mapping[Measure, Interval], ...]
    differences: tuple[Difference, ...] = ()


def summary_of(
    scores: Sequence[Sequence[Mapping[Measure, float]]], measures: Sequence[Measure], *, draws: int = DRAWS
) -> ScoreSummary:
    """The summary of `scores[model][example]`, in which every model has the same examples.

    Args:
        scores: for each model the scores of its answers.
        measures: which of them are wanted.
        draws: how many times the examples are drawn; takes some 25 ns for each draw, example, model and measure.

    """
    count = len(scores[0]) if scores else 0
    if not count:
        return ScoreSummary(example_count=0, means=tuple({} for _ in scores))
    keys = list(itertools.product(range(len(scores)), measures))
    columns = {(model, measure): [each[measure] for each in scores[model]] for model, measure in keys}
    drawn = _drawn(columns, count, draws)
    means = tuple(
        {measure: _of_model(columns[model, measure], drawn[model, measure]) for measure in measures}
        for model in range(len(scores))
    )
    differences = tuple(
        _difference((first, second), measure, columns, drawn)
        for first, second in itertools.combinations(range(len(scores)), 2)
        for measure in measures
    )
    return ScoreSummary(example_count=count, means=means, differences=differences)


_Columns = Mapping[tuple[int, Measure], Sequence[float]]
"""A list of numbers for each model, by its index, and measure."""


def _drawn(columns: _Columns, count: int, draws: int) -> _Columns:
    """The mean of each column in each draw."""
    # The same examples give the same intervals.
    chance, indexes = random.Random(_SEED), range(count)
    found: dict[tuple[int, Measure], list[float]] = {key: [] for key in columns}
    for _ in range(draws):
        chosen = chance.choices(indexes, k=count)
        for key, column in columns.items():
            found[key].append(sum(map(column.__getitem__, chosen)) / count)
    return found


def _of_model(values: Sequence[float], drawn: Sequence[float]) -> Interval:
    mean, outside = sum(values) / len(values), (1 - CONFIDENCE) / 2
    if all(value == 1.0 for value in values):
        return Interval(mean=mean, low=outside ** (1 / len(values)), high=1.0)
    if not any(values):
        return Interval(mean=mean, low=0.0, high=1.0 - outside ** (1 / len(values)))
    return _middle(mean, drawn)


def _difference(pair: tuple[int, int], measure: Measure, columns: _Columns, drawn: _Columns) -> Difference:
    first, second = pair
    of_examples = [one - other for one, other in zip(columns[first, measure], columns[second, measure], strict=True)]
    of_draws = [one - other for one, other in zip(drawn[first, measure], drawn[second, measure], strict=True)]
    return Difference(
        first=first,
        second=second,
        measure=measure,
        interval=_middle(sum(of_examples) / len(of_examples), of_draws),
        differing=sum(map(bool, of_examples)),
    )


def _middle(mean: float, drawn: Sequence[float]) -> Interval:
    ordered, outside = sorted(drawn), (1 - CONFIDENCE) / 2
    last = len(ordered) - 1
    return Interval(mean=mean, low=ordered[round(outside * last)], high=ordered[round((1 - outside) * last)])
