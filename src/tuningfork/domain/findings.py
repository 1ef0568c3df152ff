"""What the losses of a run can give reason to warn of. `diagnosis.py` looks for it."""

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What can be wrong with the losses of a run."""

    LOSS_ROSE = "loss_rose"
    LOSS_LEVEL = "loss_level"
    LOSS_ZERO = "loss_zero"
    OVERFITTING = "overfitting"

    @property
    def in_short(self) -> str:
        """A few words for a table or a progress bar."""
        return _IN_SHORT[self]


_IN_SHORT = {
    FindingKind.LOSS_ROSE: "loss rose",
    FindingKind.LOSS_LEVEL: "loss level",
    FindingKind.LOSS_ZERO: "loss 0.000 for most steps",
    FindingKind.OVERFITTING: "overfitting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the losses of a run show. `description` and `advice`, what to try, are sentences for its owner."""

    kind: FindingKind
    description: str
    advice: str
