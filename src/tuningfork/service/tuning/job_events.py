"""What has happened to a job, in the order of time: the changes of its state, and its checkpoints."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.job_detail import EventKind, JobEvent, Transition
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.tuning_job import JobState, TuningJob

_KINDS = {
    JobState.SUCCEEDED: EventKind.SUCCEEDED,
    JobState.FAILED: EventKind.FAILED,
    JobState.CANCELLED: EventKind.CANCELLED,
}


def events_of(
    job: TuningJob, transitions: Iterable[Transition], kept: Iterable[Checkpoint], times: Mapping[int, datetime]
) -> tuple[JobEvent, ...]:
    """The events of a job, the earliest first.

    Args:
        job: the job.
        transitions: the changes of its state, the earliest first.
        kept: its checkpoints.
        times: when its steps were made, as far as that is known; checkpoints of other steps are left out.

    """
    created = JobEvent(kind=EventKind.CREATED, time=job.create_time)
    checkpoints = [
        JobEvent(kind=EventKind.CHECKPOINT, time=times[each.step], step=each.step)
        for each in kept
        if each.step in times
    ]
    found = [created, *_changes(transitions), *checkpoints]
    # Sorting keeps the order of those of one time.
    return tuple(sorted(found, key=lambda each: each.time))


def _changes(transitions: Iterable[Transition]) -> Iterator[JobEvent]:
    has_started = False
    for each in transitions:
        if each.target is JobState.RUNNING:
            kind = EventKind.RESUMED if has_started else EventKind.STARTED
            has_started = True
        elif each.target is JobState.QUEUED:
            kind = EventKind.PREPARED if each.source is JobState.PREPARING else EventKind.WAITS_AGAIN
            # The first of many changes may not be among those that were read.
            has_started |= kind is EventKind.WAITS_AGAIN
        else:
            kind = _KINDS[each.target]
        yield JobEvent(kind=kind, time=each.time, message=without_directories(each.reason))
