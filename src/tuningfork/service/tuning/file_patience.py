"""How long jobs wait for training files that cannot be read at the moment, and how often it is tried."""

from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.preparation import UnreadFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatience:
    """The rule. It is patience by time and not by tries: a store that is away for some minutes fails no job.

    Time in which no server was there to try does not count: of the time between two tries `most_gap_seconds` count at
    most. So a job does not fail at the first try after a night in which the machine was off, for example since a disk
    of the network is mounted later than the server starts.

    Attributes:
        patience_seconds: how long a job waits before it fails.
        first_pause_seconds: the time between the first try and the second; then it doubles with each further try.
        most_pause_seconds: the longest time between two tries.
        most_gap_seconds: how much of the time between the ends of two tries counts: a pause and a try.

    """

    patience_seconds: float = 1800.0
    first_pause_seconds: float = 5.0
    most_pause_seconds: float = 60.0
    most_gap_seconds: float = 180.0

    def failed(self, before: UnreadFiles | None, now: datetime) -> UnreadFiles:
        """What is known of files once more that cannot be read now. `before` None: the last try did not fail so."""
        if before is None:
            return UnreadFiles(seconds=0.0, last_try=now)
        # A clock that was set back adds nothing.
        gap = max(0.0, (now - before.last_try).total_seconds())
        return UnreadFiles(seconds=before.seconds + min(gap, self.most_gap_seconds), last_try=now)

    def pause_after(self, unread: UnreadFiles) -> float | None:
        """The seconds until the next try; None: the patience is used up.

        As long as the files have been away already, so that pauses double with each try.
        """
        if unread.seconds >= self.patience_seconds:
            return None
        return min(max(unread.seconds, self.first_pause_seconds), self.most_pause_seconds)
