"""How a job is trained: what was asked, what is used, and the arithmetic of steps and epochs."""

import math
from dataclasses import dataclass

from tuningfork.domain.errors import FieldViolation

MAX_EPOCHS = 1_000
MAX_BATCH_SIZE = 1_024
MAX_LEARNING_RATE = 1.0
MAX_LEARNING_RATE_MULTIPLIER = 1_000.0
MAX_STEPS = 1_000_000

SMALL_DATASET = 1_000
"""Up to this many examples the small-set defaults hold: batch 4 and the base's own rate. Above it, batch 16 and a
fifth of the rate, the two pairs that the Gemini API's reference names without giving the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedHyperparameters:
    """What the caller said; None is left to the service. At most one of the two rates is given."""

    epoch_count: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What a job is trained with: every value decided.

    `learning_rate_multiplier` is kept beside the rate it led to, only to be shown again; None if none was given.
    """

    epoch_count: int
    batch_size: int
    learning_rate: float
    learning_rate_multiplier: float | None = None

    def total_steps(self, example_count: int) -> int:
        """Optimizer steps of the whole job: epochs are concatenated, batches cross their borders."""
        return math.ceil(example_count * self.epoch_count / self.batch_size)

    def completed_epochs(self, step: int, example_count: int) -> int:
        """Epochs completed after this 1-based step, never more than were asked for."""
        return min(step * self.batch_size // example_count, self.epoch_count)


def resolve(requested: RequestedHyperparameters, example_count: int, default_learning_rate: float) -> Hyperparameters:
    """Fill in what the caller left out, from the size of the dataset and the base's default rate."""
    small = example_count <= SMALL_DATASET
    usual_rate = default_learning_rate if small else default_learning_rate / 5
    rate = requested.learning_rate
    if rate is None:
        rate = usual_rate * (1.0 if requested.learning_rate_multiplier is None else requested.learning_rate_multiplier)
    return Hyperparameters(
        epoch_count=5 if requested.epoch_count is None else requested.epoch_count,
        batch_size=(4 if small else 16) if requested.batch_size is None else requested.batch_size,
        learning_rate=rate,
        learning_rate_multiplier=requested.learning_rate_multiplier,
    )


def violations_of(requested: RequestedHyperparameters, path: str) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with the values given; `path` is where they sit in the request."""
    checks = (
        ("epoch_count", requested.epoch_count, 1, MAX_EPOCHS),
        ("batch_size", requested.batch_size, 1, MAX_BATCH_SIZE),
        ("learning_rate", requested.learning_rate, None, MAX_LEARNING_RATE),
        ("learning_rate_multiplier", requested.learning_rate_multiplier, None, MAX_LEARNING_RATE_MULTIPLIER),
    )
    return tuple(
        FieldViolation(field=f"{path}.{name}", description=f"{name} must be {wanted}; {value} was given")
        for name, value, least, most in checks
        if value is not None and (wanted := _refusal(value, least, most))
    )


def _refusal(value: float, least: int | None, most: float) -> str | None:
    if least is not None:
        return None if least <= value <= most else f"a whole number from {least} to {most}"
    return None if math.isfinite(value) and 0 < value <= most else f"a finite number above 0 and at most {most:g}"
