"""The result of evaluating a running job on its validation set."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result on a job's validation set after `step` completed steps.

    `epoch` counts completed epochs. `mean_loss` is the job's objective over the whole set, in nats. `targets` is the
    number of tokens that the model should predict; for `right_targets` of them no token was likelier than the right
    one.
    """

    step: int
    epoch: int
    mean_loss: float
    targets: int
    right_targets: int
    compute_time: datetime

    @property
    def right_share(self) -> float:
        """The fraction of targets that were the likeliest token."""
        return self.right_targets / self.targets
