"""Where waiting jobs stand: the order in which this server takes them up, and about when."""

from collections.abc import Mapping, Sequence

from tuningfork.domain.job_detail import NextPlace, QueuePlace
from tuningfork.domain.tuning_job import JobId, TuningJob
from tuningfork.service.remembered import Remembered
from tuningfork.service.tuning.speeds import Speeds
from tuningfork.service.tuning.turns import Queue, Turns
from tuningfork.store.database import Database


class QueuePlaces:
    """Tells the places of waiting jobs.

    Args:
        database: where the jobs are.
        turns: in which order this server takes waiting jobs up.
        speeds: for how long the jobs in training still take.
        places: how many jobs this server trains at a time.

    """

    def __init__(self, database: Database, turns: Turns, speeds: Speeds, *, places: int) -> None:
        self._turns = turns
        self._speeds = speeds
        self._places = places
        self._known: Remembered[str, Queue] = Remembered(database)

    def of(self, jobs: Sequence[TuningJob]) -> Mapping[JobId, QueuePlace]:
        """The place of each of these jobs, which wait for their turn; none for those that wait no longer."""
        if not jobs:
            return {}
        queue = self._known.of("queue", self._turns.queue)
        starts = self._starts(queue)
        return {job.id: self._place(job, queue, starts) for job in jobs}

    def next(self) -> NextPlace:
        """Where a job would stand that is created now, if nothing changes."""
        queue = self._known.of("queue", self._turns.queue)
        starts, ahead = self._starts(queue), len(queue.positions)
        return NextPlace(jobs_ahead=ahead, start_seconds=starts[ahead] if ahead < len(starts) else None)

    def _place(self, job: TuningJob, queue: Queue, starts: Sequence[float]) -> QueuePlace:
        position = queue.positions.get(job.id)
        is_near = position is not None and position <= len(starts)
        return QueuePlace(
            position=position,
            waiting_jobs=queue.waiting_count,
            running_jobs=len(queue.running),
            start_seconds=starts[position - 1] if position is not None and is_near else None,
            waits_for=self._turns.why_not_here(job) if position is None else "",
        )

    def _starts(self, queue: Queue) -> list[float]:
        """In how many seconds places become free, as far as it depends on the jobs in training alone.

        A place that is free now is taken at once, by the first job in the order.
        """
        free = [0.0] * max(0, self._places - len(queue.running))
        left = [self._speeds.seconds_left(job_id, steps) for job_id, steps in queue.running.items()]
        known = sorted(each for each in left if each is not None)
        # With a job of which nobody knows how long it takes, a place may become free earlier.
        return free + (known if len(known) == len(left) else [])
