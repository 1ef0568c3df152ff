"""Decides which snapshots of a long job are kept, so that their number has a limit."""

from collections.abc import Iterable
from dataclasses import dataclass

from tuningfork.domain.tuning_job import Snapshot

MOST_SNAPSHOTS = 2_000
"""A job of up to this many steps keeps the snapshot of every step."""


@dataclass(frozen=True, slots=True)
class SnapshotGrid:
    """The steps whose snapshots a job keeps: the first, every `every`-th, and the last so far.

    The grid depends only on the number of the job's steps, so a snapshot on the grid is kept as long as the job. If the
    last snapshot is not on the grid, it is removed when the next one is added.
    """

    every: int

    @classmethod
    def of(cls, total_steps: int) -> "SnapshotGrid":
        """The grid of a job with this many steps: at most `MOST_SNAPSHOTS` of them, and the first and last step."""
        return cls(max(1, -(-total_steps // MOST_SNAPSHOTS)))

    @property
    def is_thinned(self) -> bool:
        """Whether there are steps that are not on the grid."""
        return self.every > 1

    def holds(self, step: int) -> bool:
        """Whether the step, counted from 1, is on the grid: its snapshot is kept when later ones are added."""
        return step == 1 or step % self.every == 0

    def thin(self, snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
        """Those of these snapshots, given in the order of their steps, that are on the grid, and the last one."""
        given = tuple(snapshots)
        return tuple(each for each in given[:-1] if self.holds(each.step)) + given[-1:]
