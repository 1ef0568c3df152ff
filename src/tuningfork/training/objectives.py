"""Training objectives: a job's loss, and the weight of each token's loss in its gradient.

A pass computes the loss of every target, in nats; the objective of each job turns its targets' losses into weights; the
gradient of the weighted sum, with the weights held constant, is the gradient of the objective.

Cross-entropy knows its weights before the pass: one over the number of targets of the batch. DPO (Rafailov et al. 2023,
arXiv 2305.18290, equation 7) does not. With pi the model that is trained, pi_ref the reference model, x a prompt, y_w
its chosen and y_l its rejected answer, the loss of a pair is

    L = -log sigmoid(h),   h = beta (log pi(y_w|x) - log pi_ref(y_w|x)) - beta (log pi(y_l|x) - log pi_ref(y_l|x)).

The log-probability of an answer is minus the sum of its targets' losses. So dL / dloss_n is beta sigmoid(-h) at each
target of the chosen answer, and -beta sigmoid(-h) at each of the rejected one. A job's loss is the mean of L over the
pairs of its batch.

Shape suffixes: N targets of a pass, M pairs, J jobs.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tuningfork.domain import objective as domain


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTerms:
    """What DPO needs to know about each target of a pass.

    `pair_N` is the number of the target's pair; targets of no pair have the number `count`. `coefficient_N` is beta in
    chosen answers, -beta in rejected ones and 0 elsewhere. `share_N` is one over the number of pairs in the job's
    batch. `reference_N` is the target's loss under the reference model, in nats.
    """

    count: int
    pair_N: Tensor
    coefficient_N: Tensor
    share_N: Tensor
    reference_N: Tensor

    def margins(self, losses_N: Tensor) -> Tensor:
        """The number h (defined at the top of this file) of every pair.

        The result has one number more than there are pairs: the last is for targets of no pair and has no meaning.
        """
        # Subtract for each token first: the difference of two large sums would lose precision.
        gains_N = self.coefficient_N * (self.reference_N - losses_N)
        return gains_N.new_zeros(self.count + 1).index_add_(0, self.pair_N, gains_N)

    def weights(self, losses_N: Tensor) -> Tensor:
        """The derivative of the batch's mean loss with respect to each target's loss; 0 for targets of no pair."""
        return self.share_N * self.coefficient_N * torch.sigmoid(-self.margins(losses_N))[self.pair_N]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """The weight of each target's loss in the gradient, `N` in fp32.

    It is `fixed_N` plus, for targets of pairs, a weight that depends on the losses (`PairTerms`). All operations run on
    the device of the tensors and can be in a CUDA graph.
    """

    fixed_N: Tensor
    pairs: PairTerms | None = None

    def of(self, losses_N: Tensor) -> Tensor:
        """The weights of a pass with these losses."""
        return self.fixed_N if self.pairs is None else self.fixed_N + self.pairs.weights(losses_N)

    def padded(self, places_N: Tensor, targets: int, pairs: int | None = None) -> "LossWeights":
        """The weights for a padded pass with `targets` targets, in which these targets have the indices `places_N`.

        The padding targets have weight 0. `pairs` is the number of pairs in the padded pass; None: it has no padding
        pairs.
        """
        rows = [row_N.new_zeros(targets).index_copy_(0, places_N, row_N) for row_N in self.rows]
        if self.pairs is None:
            return self.of_rows(rows)
        own, count = self.pairs, self.pairs.count if pairs is None else pairs
        own_N = torch.where(own.pair_N == own.count, count, own.pair_N)
        return self.of_rows(rows, own_N.new_full((targets,), count).index_copy_(0, places_N, own_N), count)

    def to(self, device: torch.device) -> "LossWeights":
        """These weights on this device."""
        rows = [row_N.to(device) for row_N in self.rows]
        if self.pairs is None:
            return self.of_rows(rows)
        return self.of_rows(rows, self.pairs.pair_N.to(device), self.pairs.count)

    @property
    def rows(self) -> list[Tensor]:
        """The fp32 vectors: one, or four if there are pairs."""
        own = self.pairs
        return [self.fixed_N] + ([] if own is None else [own.coefficient_N, own.share_N, own.reference_N])

    @classmethod
    def of_rows(cls, rows: Sequence[Tensor], pair_N: Tensor | None = None, count: int = 0) -> "LossWeights":
        """The weights with these vectors, as `rows` returns them; the inverse of `rows`.

        `pair_N` and `count` are as in `PairTerms`; `pair_N` None: there are no pairs.
        """
        if pair_N is None:
            return cls(fixed_N=rows[0])
        fixed_N, coefficient_N, share_N, reference_N = rows
        terms = PairTerms(
            count=count, pair_N=pair_N, coefficient_N=coefficient_N, share_N=share_N, reference_N=reference_N
        )
        return cls(fixed_N=fixed_N, pairs=terms)


class JobObjective(Protocol):
    """One job's objective. `counts` has, for each of the job's segments in a pass, its number of targets."""

    @property
    def is_over_pairs(self) -> bool:
        """Whether examples are pairs of answers: two segments in one pass, the chosen one first.

        Then the targets' losses under the reference model are needed too.
        """
        ...

    def terms(self, counts: Sequence[int]) -> int:
        """How many terms the job's mean loss is the mean of: the number of targets, or of pairs."""
        ...

    def total(self, losses_N: Tensor, reference_N: Tensor | None, counts: Sequence[int]) -> float:
        """The sum of the terms, in nats."""
        ...

    def coefficients(self, counts: Sequence[int]) -> list[float]:
        """For each segment the `coefficient_N` of its targets (see `PairTerms`).

        Empty if the weights are known before the pass.
        """
        ...

    def predicted(self, counts: Sequence[int]) -> list[bool]:
        """For each segment whether the model should predict its targets (not those of rejected answers)."""
        ...


@dataclass(frozen=True, slots=True)
class CrossEntropyObjective:
    """See `JobObjective`: the mean over all targets of the batch."""

    is_over_pairs: bool = False

    def terms(self, counts: Sequence[int]) -> int:
        """The number of targets, over which the mean loss is taken."""
        return sum(counts)

    def total(self, losses_N: Tensor, reference_N: Tensor | None, counts: Sequence[int]) -> float:  # noqa: ARG002
        """The exact sum over targets, which does not depend on the order of summation."""
        return math.fsum(losses_N.tolist())

    def coefficients(self, counts: Sequence[int]) -> list[float]:  # noqa: ARG002
        """Empty: the weights are known before the pass."""
        return []

    def predicted(self, counts: Sequence[int]) -> list[bool]:
        """True for all segments."""
        return [True] * len(counts)


@dataclass(frozen=True, slots=True)
class DpoObjective:
    """See `JobObjective`: the mean over the pairs of the batch. Each pair's chosen answer comes first."""

    beta: float
    is_over_pairs: bool = True

    def terms(self, counts: Sequence[int]) -> int:
        """The number of pairs, over which the mean loss is taken."""
        return len(counts) // 2

    def total(self, losses_N: Tensor, reference_N: Tensor | None, counts: Sequence[int]) -> float:
        """The sum of -log sigmoid(h) over pairs."""
        assert reference_N is not None  # noqa: S101 - callers pass it where `is_over_pairs`
        gains = torch.split(reference_N.double() - losses_N.double(), list(counts))
        by_answer = [math.fsum(each.tolist()) for each in gains]
        margins = [
            self.beta * (chosen - rejected) for chosen, rejected in zip(by_answer[::2], by_answer[1::2], strict=True)
        ]
        return math.fsum(_softplus(-margin) for margin in margins)

    def coefficients(self, counts: Sequence[int]) -> list[float]:
        """The factor of each segment's losses in h: beta for chosen answers, -beta for rejected ones."""
        return [self.beta, -self.beta] * (len(counts) // 2)

    def predicted(self, counts: Sequence[int]) -> list[bool]:
        """True for chosen answers."""
        return [True, False] * (len(counts) // 2)


@dataclass(frozen=True, slots=True)
class Predictions:
    """How many targets the model should predict, and for how many of them no token was likelier."""

    targets: int = 0
    right: int = 0

    def __add__(self, other: "Predictions") -> "Predictions":
        return Predictions(self.targets + other.targets, self.right + other.right)


def predictions_of(objective: JobObjective, right_N: Tensor, counts: Sequence[int]) -> Predictions:
    """The predictions among one job's targets of a pass.

    Args:
        objective: the job's.
        right_N: whether no token was likelier than the target.
        counts: for each of the job's segments in the pass, its number of targets.

    """
    predicted_N = torch.repeat_interleave(torch.tensor(objective.predicted(counts)), torch.tensor(counts))
    return Predictions(int(predicted_N.sum()), int((right_N & predicted_N).sum()))


def objective_of(named: domain.Objective) -> JobObjective:
    """The implementation of one of the domain's objectives."""
    match named:
        case domain.CrossEntropy():
            return CrossEntropyObjective()
        case domain.DirectPreferenceOptimization(beta=beta):
            return DpoObjective(beta)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassShare:
    """One job's part of a pass: its objective, and the number of targets of each of its segments (`counts`).

    `terms` is how many terms the mean loss over the job's whole batch has.
    """

    objective: JobObjective
    counts: Sequence[int]
    terms: int


def loss_weights(shares: Sequence[PassShare], reference_N: Tensor | None) -> LossWeights:
    """The weights of these jobs' targets, in the order of the jobs; on the CPU.

    `reference_N` are the targets' losses under the reference models, any number for jobs without one; None: no job has
    one.
    """
    targets = [sum(share.counts) for share in shares]
    terms_J = torch.tensor([share.terms for share in shares], dtype=torch.float32)
    # The sum over all jobs is differentiated, but each adapter affects only its own job's losses, hence the mean per
    # job.
    share_N = torch.repeat_interleave(1 / terms_J, torch.tensor(targets))
    if reference_N is None:
        return LossWeights(fixed_N=share_N)
    coefficients, pairs = zip(*_answers(shares), strict=True)
    counts = torch.tensor([count for share in shares for count in share.counts])
    count = max(pairs) + 1
    pair_N = torch.repeat_interleave(torch.tensor(pairs), counts)
    paired_N = pair_N >= 0
    return LossWeights(
        fixed_N=torch.where(paired_N, 0.0, share_N),
        pairs=PairTerms(
            count=count,
            pair_N=torch.where(paired_N, pair_N, count),
            coefficient_N=torch.repeat_interleave(torch.tensor(coefficients), counts),
            share_N=torch.where(paired_N, share_N, 0.0),
            reference_N=torch.where(paired_N, reference_N, 0.0),
        ),
    )


def _answers(shares: Sequence[PassShare]) -> Iterator[tuple[float, int]]:
    """For each segment its coefficient and the number of its pair; -1: it is in no pair."""
    pair = 0
    for share in shares:
        coefficients = share.objective.coefficients(share.counts)
        if not coefficients:
            yield from [(0.0, -1)] * len(share.counts)
        for place, coefficient in enumerate(coefficients):
            yield coefficient, pair + place // 2
        pair += len(coefficients) // 2


def _softplus(x: float) -> float:
    """log(1 + exp(x)), for x of any size."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
