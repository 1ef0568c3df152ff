"""The losses of a tuning job from a step on, for whoever draws them while they come."""

from dataclasses import dataclass

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.snapshot_grid import SnapshotGrid
from tuningfork.domain.tuning_job import Snapshot, TuningJob


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSeries:
    """The losses of a job from a step on.

    `every`: a long job keeps the snapshot of each step that is a multiple of this. `restarts` is how often it has
    waited again after it was given to a trainer: then it may have gone back to an earlier step. `more`: there are
    further evaluations.
    """

    job: TuningJob
    every: int
    restarts: int
    training: tuple[Snapshot, ...]
    validation: tuple[Evaluation, ...]
    more: bool

    @property
    def lasting_step(self) -> int | None:
        """The last step in `training` whose snapshot is kept for good; None: there is none.

        The very last one may be off the grid, and is removed when a later one comes.
        """
        grid, is_over = SnapshotGrid(self.every), self.job.state.is_final
        lasting = [each.step for each in self.training[-2:] if is_over or grid.holds(each.step)]
        return lasting[-1] if lasting else None
