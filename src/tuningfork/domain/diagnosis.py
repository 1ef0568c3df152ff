"""Judges a run by its recorded losses: did they fall, and if not, what to try.

A loss is the mean over one batch, and batches differ by more than a step changes. So parts of the run are compared, and
a difference counts only if it is large beside the spread of the batches. Where a run has several epochs, epochs are
compared, since each has the same examples. A finding is a warning for people; nothing depends on it. In doubt there is
none.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.findings import Finding, FindingKind
from tuningfork.domain.tuning_job import Snapshot

LEAST_STEPS = 4
"""A shorter run is not judged."""
LEAST_LEVEL_STEPS = 8
"""A shorter run is never called level: few batches cannot show that nothing was learned."""

ZERO_LOSS = 0.0005
"""Below this a loss is shown as 0.000."""
_ZERO_SHARE = 0.5

_USUAL_SPREAD = 0.25
"""The least spread that the losses of batches are taken to have, as a share of their mean. Late batches may happen to
be more alike than the first ones are."""
_RISE, _RISE_ERRORS, _RISE_ERRORS_OF_FEW = 0.05, 3.0, 4.0
"""A rise counts from this share on, and from so many standard errors on; where few first steps are compared, more."""
_FEW_STEPS = 5
_JUMP, _STILL_ABOVE = 1.0, 0.2
"""A loss that jumped within the first third by more than the first share, and that is still above its beginning by the
second, has risen too."""
_LEAST_STEPS_BETWEEN, _RISE_AGAIN, _LEFT = 12, 1.0, 0.1
"""A run of at least so many steps has risen again if the mean of its last third is above that of its middle third by
more than the second share, and if it is more than the third share of the mean of its first third: below, it has learned
nearly all anyway."""
_LEVEL, _POSSIBLE_FALL = 0.07, 0.35
_LEVEL_EPOCHS, _POSSIBLE_FALL_OF_EPOCHS = 0.1, 0.5
"""A run is level if its loss changed by less than the first share, and if a fall by more than the second can be
excluded, with two standard errors. Of epochs less is asked, since each has the same examples."""
_SMALL_FALL, _SMALL_FALL_ERRORS = 0.03, 2.0
"""A fall by this share is learning if it is this many standard errors."""
_EARLY_FALL, _EARLY_FALL_ERRORS = 0.1, 1.5
"""What counts as a fall within the first steps, after which a loss may stay level."""
_WORSE_VALIDATION, _LEAST_WORSE = 0.05, 0.02
"""A validation loss has risen if it is above the best one by this share, and by this many nats."""


@dataclass(frozen=True, slots=True)
class _Change:
    """The change of the loss between two parts of a run, as the logarithm of its ratio, and its standard error."""

    log_ratio: float
    error: float

    def is_rise_by(self, share: float, errors: float) -> bool:
        return self.log_ratio > max(math.log1p(share), errors * self.error)

    def is_fall_by(self, share: float, errors: float) -> bool:
        return self.log_ratio < min(math.log1p(-share), -errors * self.error)

    def is_level(self, share: float, possible_fall: float) -> bool:
        if self.is_fall_by(_SMALL_FALL, _SMALL_FALL_ERRORS):
            return False
        least = self.log_ratio - 2 * self.error
        return abs(self.log_ratio) < share and least > math.log1p(-possible_fall)


def diagnose(
    snapshots: Sequence[Snapshot], evaluations: Sequence[Evaluation] = (), *, over_preferences: bool = False
) -> tuple[Finding, ...]:
    """What the losses of a run, or of its steps so far, give reason to warn of; usually nothing.

    Args:
        snapshots: those of the run, in the order of their steps; of a long run those that are kept.
        evaluations: those of the run, in the order of their steps.
        over_preferences: whether the run learns from preferences, whose loss is not that of texts.

    """
    taken = [each for each in snapshots if math.isfinite(each.mean_loss)]
    if len(taken) < LEAST_STEPS:
        return ()
    losses = [max(each.mean_loss, 0.0) for each in taken]
    found = []
    if sum(loss < ZERO_LOSS for loss in losses) > _ZERO_SHARE * len(losses):
        found.append(_zero(taken, over_preferences=over_preferences))
    elif (begin := _risen_from(losses)) is not None:
        found.append(_rose(losses, begin))
    elif _has_risen_again(losses):
        found.append(_rose_again(losses))
    elif len(losses) >= LEAST_LEVEL_STEPS and _is_level(taken, losses) and not _validation_fell(evaluations):
        found.append(_level(losses, over_preferences=over_preferences))
    if not found or found[0].kind is FindingKind.LOSS_ZERO:
        found.extend(_overfitting(evaluations))
    return tuple(found)


def _risen_from(losses: Sequence[float]) -> int | None:
    """How many first steps the last third is above; None: it is above no beginning.

    Too high a learning rate throws the loss up within the first steps, after which it often falls a little. So the
    beginning may be as short as one step, the only one before any change.
    """
    third = _third(losses)
    last, spread = losses[-third:], _spread_of_batches(losses)
    for count in _early_counts(len(losses)):
        errors = _RISE_ERRORS_OF_FEW if count < _FEW_STEPS else _RISE_ERRORS
        if _change(losses[:count], last, spread).is_rise_by(_RISE, errors):
            return count
    # The highest three neighbours of the first third.
    peak = max((losses[begin : begin + 3] for begin in range(1, third)), key=statistics.fmean, default=losses[:1])
    is_above = _log_ratio(losses[:1], last) > math.log1p(_STILL_ABOVE)
    has_jumped = is_above and _change(losses[:1], peak, spread).is_rise_by(_JUMP, _RISE_ERRORS_OF_FEW)
    return 1 if has_jumped else None


def _has_risen_again(losses: Sequence[float]) -> bool:
    """Whether the last third is far above the middle one, although it may be below the beginning.

    So ends a run that learned until a learning rate that is somewhat too high threw it off.
    """
    third = _third(losses)
    first, middle, last = losses[:third], losses[third:-third], losses[-third:]
    if len(losses) < _LEAST_STEPS_BETWEEN or statistics.fmean(last) <= _LEFT * statistics.fmean(first):
        return False
    return _change(middle, last, _spread_of_batches(losses)).is_rise_by(_RISE_AGAIN, _RISE_ERRORS_OF_FEW)


def _is_level(snapshots: Sequence[Snapshot], losses: Sequence[float]) -> bool:
    """Whether the last third is about where the first third is, and where the first steps are."""
    last, spread = losses[-_third(losses) :], _spread_of_batches(losses)
    early = [_change(losses[:count], last, spread) for count in _early_counts(len(losses))]
    if any(change.is_fall_by(_EARLY_FALL, _EARLY_FALL_ERRORS) for change in early):
        return False
    if means := _epoch_means(snapshots):
        return _change_of_thirds(means).is_level(_LEVEL_EPOCHS, _POSSIBLE_FALL_OF_EPOCHS)
    return _change_of_thirds(losses).is_level(_LEVEL, _POSSIBLE_FALL)


def _epoch_means(snapshots: Sequence[Snapshot]) -> list[float]:
    """The mean loss of each epoch that is complete; empty if there are fewer than three, or if they are short."""
    epochs: dict[int, list[float]] = {}
    completed = 0
    for each in snapshots:
        # A step belongs to the epoch that was under way before it.
        epochs.setdefault(completed, []).append(each.mean_loss)
        completed = each.epoch
    means = [statistics.fmean(losses) for epoch, losses in epochs.items() if epoch < completed]
    return means if len(means) >= 3 and len(snapshots) >= 2 * len(means) else []


def _change(first: Sequence[float], last: Sequence[float], spread: float) -> _Change:
    return _Change(_log_ratio(first, last), spread * math.sqrt(1 / len(first) + 1 / len(last)))


def _change_of_thirds(points: Sequence[float]) -> _Change:
    count = _third(points)
    return _change(points[:count], points[-count:], _spread(points))


def _log_ratio(first: Sequence[float], last: Sequence[float]) -> float:
    tiny = ZERO_LOSS / 10
    return math.log((statistics.fmean(last) + tiny) / (statistics.fmean(first) + tiny))


def _spread(losses: Sequence[float]) -> float:
    """The standard deviation of these losses, as a share of their mean."""
    return statistics.pstdev(losses) / max(statistics.fmean(losses), ZERO_LOSS)


def _spread_of_batches(losses: Sequence[float]) -> float:
    """How much batches differ, as a share of their loss: late ones, and neighbours; at least as much as usual."""
    return max(_spread(losses[-_third(losses) :]), _spread_of_neighbours(losses), _USUAL_SPREAD)


def _spread_of_neighbours(losses: Sequence[float]) -> float:
    """The standard deviation of the losses around their course, as a share of it, from what neighbours differ by.

    The median difference hardly depends on the course itself, nor on a few jumps.
    """
    differences = [abs(_log_ratio([one], [other])) for one, other in itertools.pairwise(losses)]
    return statistics.median(differences) / (0.6745 * math.sqrt(2))


def _third(points: Sequence[float]) -> int:
    return max(1, len(points) // 3)


def _early_counts(steps: int) -> list[int]:
    """How many first steps are compared with the last third; none of them reaches into the last half."""
    return sorted({count for count in (1, 2, 3, 5, steps // 10, steps // 5) if 1 <= count <= steps // 2})


def _validation_fell(evaluations: Sequence[Evaluation]) -> bool:
    first, last = (evaluations[0].mean_loss, evaluations[-1].mean_loss) if evaluations else (0.0, 0.0)
    return last < first * (1 - _SMALL_FALL)


def _mean_of_last(losses: Sequence[float]) -> float:
    return statistics.fmean(losses[-_third(losses) :])


def _rose(losses: Sequence[float], begin: int) -> Finding:
    """`begin`: how many first steps were compared."""
    first, last = statistics.fmean(losses[:begin]), _mean_of_last(losses)
    when = "at first" if begin == 1 else f"in the first {begin} steps"
    return Finding(
        kind=FindingKind.LOSS_ROSE,
        description=f"The loss is above where it began: {first:.3f} {when}, {last:.3f} in the last third of the steps.",
        advice="The model has most likely become worse. Try a tenth of the learning rate, or a larger batch size.",
    )


def _rose_again(losses: Sequence[float]) -> Finding:
    third = _third(losses)
    middle, last = statistics.fmean(losses[third:-third]), _mean_of_last(losses)
    return Finding(
        kind=FindingKind.LOSS_ROSE,
        description=f"The loss fell and then rose again: {middle:.3f} in the middle third of the steps, {last:.3f} in "
        "the last.",
        advice="The model has most likely become worse again. Try a third of the learning rate, or a larger batch "
        "size; an earlier checkpoint may be better.",
    )


def _level(losses: Sequence[float], *, over_preferences: bool) -> Finding:
    first, last = statistics.fmean(losses[: _third(losses)]), _mean_of_last(losses)
    data = (
        "check that each chosen answer is better than the rejected one"
        if over_preferences
        else "check that the outputs follow from the inputs, and that the base model does not give them already"
    )
    return Finding(
        kind=FindingKind.LOSS_LEVEL,
        description=f"The loss stayed level: {first:.3f} in the first third of the steps, {last:.3f} in the last.",
        advice=f"The model has learned little or nothing. Try ten times the learning rate, or more epochs; {data}.",
    )


def _zero(snapshots: Sequence[Snapshot], *, over_preferences: bool) -> Finding:
    first_zero = next(each.step for each in snapshots if each.mean_loss < ZERO_LOSS)
    last = snapshots[-1].step
    if over_preferences:
        advice = (
            "Later steps only push the rejected answers further away. Try fewer epochs or a lower learning rate, and "
            "check that chosen and rejected answers do not differ in their form alone."
        )
    elif first_zero <= max(2, last // 20):
        advice = (
            "There was nothing to learn: the base model gives these outputs already, or all outputs are empty or the "
            "same. Check the outputs."
        )
    else:
        advice = (
            "Later steps taught nothing more. Try fewer epochs and more examples, and check that the outputs are not "
            "all the same."
        )
    return Finding(
        kind=FindingKind.LOSS_ZERO,
        description=f"The loss was 0.000 for most steps, from step {first_zero:,} of {last:,} on.",
        advice=advice,
    )


def _overfitting(evaluations: Sequence[Evaluation]) -> list[Finding]:
    """Whether the validation loss ended above its best, which it had after an earlier step."""
    finite = [each for each in evaluations if math.isfinite(each.mean_loss)]
    if len(finite) < 2:
        return []
    best, last = min(finite, key=lambda each: (each.mean_loss, each.step)), finite[-1]
    if last.mean_loss <= max(best.mean_loss * (1 + _WORSE_VALIDATION), best.mean_loss + _LEAST_WORSE):
        return []
    return [
        Finding(
            kind=FindingKind.OVERFITTING,
            description=f"The validation loss was lowest after step {best.step:,}, {best.mean_loss:.3f}, and rose to "
            f"{last.mean_loss:.3f} while the training loss fell.",
            advice=f"The model learns the examples by heart. Stop after about {best.step:,} steps: fewer epochs, or a "
            "checkpoint from there. More examples or a lower learning rate also help.",
        )
    ]
