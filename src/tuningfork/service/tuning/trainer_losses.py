"""How often trainers were lost in a row, and how long no job is taken up because of that."""

import time
from collections.abc import Callable
from dataclasses import dataclass

PAUSE_SECONDS = 1.0
"""How long no job is claimed after two jobs in a row have lost their trainer. Each further loss doubles the time."""

MAX_PAUSE_SECONDS = 30.0
UNHEALTHY_LOSSES = 3


@dataclass(slots=True)
class TrainerLosses:
    """The losses that a server has noticed. Called from its deciding thread, apart from `ended`.

    Attributes:
        pause_seconds: how long no job is claimed after the second loss in a row.
        monotonic: seconds from any beginning.
        in_a_row: losses since a job has last completed a step.

    """

    pause_seconds: float = PAUSE_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    in_a_row: int = 0
    _last: float = 0.0
    _paused_until: float = 0.0

    @property
    def is_unhealthy(self) -> bool:
        """Whether trainers have been lost too often in a row."""
        return self.in_a_row >= UNHEALTHY_LOSSES

    @property
    def seconds_to_wait(self) -> float:
        """For how long no job is claimed yet; 0: jobs are."""
        return max(0.0, self._paused_until - self.monotonic())

    def lost(self, since: float) -> None:
        """A job that was taken up at `since` has lost its trainer: claim no jobs for a while.

        Not at all after the first loss, and longer with each further one in a row. Jobs that share a trainer lose it
        together, so a loss counts only of a job that was taken up after the last loss.
        """
        if since <= self._last:
            return
        self.in_a_row += 1
        self._last = self.monotonic()
        if self.in_a_row > 1:
            pause = self.pause_seconds * 2.0 ** (self.in_a_row - 2)
            self._paused_until = self.monotonic() + min(MAX_PAUSE_SECONDS, pause)

    def ended(self) -> None:
        """A job has completed a step, or none runs any more: no trainer has been lost in a row."""
        self.in_a_row = 0
