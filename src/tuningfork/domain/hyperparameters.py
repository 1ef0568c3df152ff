"""A job's hyperparameters: the requested ones, those in use, and the arithmetic of steps and epochs."""

import math
from dataclasses import dataclass, field

from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.objective import CrossEntropy, DirectPreferenceOptimization, Objective
from tuningfork.domain.tuning_defaults import defaults_for

MAX_EPOCHS = 1_000
MAX_BATCH_SIZE = 1_024
MAX_LEARNING_RATE = 1.0
MAX_LEARNING_RATE_MULTIPLIER = 1_000.0
MAX_STEPS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedHyperparameters:
    """The hyperparameters that the caller gave; None lets the service choose. At most one of the two rates is given."""

    epoch_count: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float | None = None
    objective: Objective = CrossEntropy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """The hyperparameters of a job, with all defaults filled in.

    `learning_rate_multiplier` is the requested multiplier, kept only to be shown; the learning rate includes it. None:
    no multiplier was requested.
    """

    epoch_count: int
    batch_size: int
    learning_rate: float
    learning_rate_multiplier: float | None = None
    objective: Objective = field(default=CrossEntropy(), repr=False)
    """The objective. It is not in `repr`, from which jobs' seeds are made, so that seeds of jobs of earlier versions
    stay the same. `SeedHash` adds an objective that is not the default."""

    def total_steps(self, example_count: int) -> int:
        """The optimizer steps of the whole job. Epochs are concatenated, so a batch may span two epochs."""
        return total_steps_of(example_count, self.epoch_count, self.batch_size)

    def completed_epochs(self, step: int, example_count: int) -> int:
        """Epochs completed after this 1-based step, never more than were asked for."""
        return min(step * self.batch_size // example_count, self.epoch_count)


NO_TRAINING = Hyperparameters(epoch_count=0, batch_size=0, learning_rate=0.0)
"""Those of an adapter that was trained elsewhere, with values that nobody here knows."""


def total_steps_of(example_count: int, epoch_count: int, batch_size: int) -> int:
    """Optimizer steps of a job of this size."""
    return math.ceil(example_count * epoch_count / batch_size)


def resolve(requested: RequestedHyperparameters, example_count: int, default_learning_rate: float) -> Hyperparameters:
    """Fill in what the caller left out, from the size of the dataset and the base's default rate."""
    usual = defaults_for(example_count)
    usual_rate = default_learning_rate / usual.rate_divisor
    rate = requested.learning_rate
    if rate is None:
        rate = usual_rate * (1.0 if requested.learning_rate_multiplier is None else requested.learning_rate_multiplier)
    return Hyperparameters(
        epoch_count=usual.epoch_count if requested.epoch_count is None else requested.epoch_count,
        batch_size=usual.batch_size if requested.batch_size is None else requested.batch_size,
        learning_rate=rate,
        learning_rate_multiplier=requested.learning_rate_multiplier,
        objective=requested.objective,
    )


def violations_of(requested: RequestedHyperparameters, path: str) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with the requested values; `path` is their path in the request."""
    checks = (
        ("epoch_count", requested.epoch_count, 1, MAX_EPOCHS),
        ("batch_size", requested.batch_size, 1, MAX_BATCH_SIZE),
        ("learning_rate", requested.learning_rate, None, MAX_LEARNING_RATE),
        ("learning_rate_multiplier", requested.learning_rate_multiplier, None, MAX_LEARNING_RATE_MULTIPLIER),
    )
    found = [
        FieldViolation(
            field=f"{path}.{name}",
            description=f"{name} must be {wanted}; {value} was given",
            reason=Reason.OUT_OF_RANGE,
        )
        for name, value, least, most in checks
        if value is not None and (wanted := _refusal(value, least, most))
    ]
    objective = requested.objective
    if isinstance(objective, DirectPreferenceOptimization) and not 0 < objective.beta < math.inf:
        described = f"beta must be a finite number above 0; {objective.beta} was given"
        where = f"{path}.objective.beta"
        found.append(FieldViolation(field=where, description=described, reason=Reason.OUT_OF_RANGE))
    return tuple(found)


def _refusal(value: float, least: int | None, most: float) -> str | None:
    if least is not None:
        return None if least <= value <= most else f"a whole number from {least} to {most}"
    return None if math.isfinite(value) and 0 < value <= most else f"a finite number above 0 and at most {most:g}"
