"""When a job has learned enough, by the losses on its validation set: which evaluation is best, and when to stop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.domain.evaluation import Evaluation

USUAL_PATIENCE = 3
MAX_PATIENCE = 1_000
MAX_LEAST_IMPROVEMENT = 100.0

MAX_EVALUATIONS = 10_000
"""The most evaluations of a job. Each savepoint has all of them."""

_USUAL_EVALUATIONS = 20
_LEAST_USUAL_EVALUATIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """Stop a job once its validation loss has not improved for `patience` evaluations in a row.

    A loss improves if it is below the lowest one that counted so far by more than `least_improvement`, in nats.
    """

    patience: int = USUAL_PATIENCE
    least_improvement: float = 0.0

    def is_over(self, evaluations: Sequence[Evaluation]) -> bool:
        """Whether the job stops after the last of these evaluations, which are all so far in the order of steps."""
        return self.in_vain(evaluations) >= self.patience

    def in_vain(self, evaluations: Sequence[Evaluation]) -> int:
        """How many of the last evaluations in a row have not improved; 0: the last one has, or there is none."""
        lowest, in_vain = math.inf, 0
        for each in evaluations:
            if each.mean_loss < lowest - (self.least_improvement if math.isfinite(lowest) else 0.0):
                lowest, in_vain = each.mean_loss, 0
            else:
                in_vain += 1
        return in_vain

    def in_words(self, evaluations: Sequence[Evaluation], total_steps: int) -> str:
        """Where and why a job stopped after the last of these evaluations, of which there is at least one."""
        in_vain = self.in_vain(evaluations)
        lowest, last = evaluations[-1 - in_vain], evaluations[-1]
        margin = f" by more than {self.least_improvement:g}" if self.least_improvement else ""
        return (
            f"It stopped early, after step {last.step:,} of {total_steps:,}: the validation loss after step "
            f"{lowest.step:,}, {lowest.mean_loss:.4g}, has not been improved{margin} in "
            f"{in_vain} {'evaluation' if in_vain == 1 else 'evaluations'}."
        )


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation with the lowest loss; of equal ones the earliest. None if there are none."""
    return min(evaluations, key=lambda each: (each.mean_loss, each.step), default=None)


def improvements(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Those of these evaluations that were the best when they came; the last of them is the best of all."""
    found: list[Evaluation] = []
    for each in evaluations:
        if not found or each.mean_loss < found[-1].mean_loss:
            found.append(each)
    return found


def usual_evaluate_every(total_steps: int, trained_examples: int, validation_count: int) -> int:
    """The number of steps between evaluations where nobody has chosen it.

    So that a run has some twenty evaluations; fewer if these had more examples than the training, but at least four.

    Args:
        total_steps: the job's optimizer steps.
        trained_examples: the examples of all its steps: those of the dataset, times epochs.
        validation_count: the examples of its validation set, at least 1.

    """
    wanted = min(_USUAL_EVALUATIONS, max(_LEAST_USUAL_EVALUATIONS, trained_examples // validation_count))
    return max(1, math.ceil(total_steps / wanted))
