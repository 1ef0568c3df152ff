"""Which jobs a trainer takes up next, and which make room: one pure rule."""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuningfork.domain.tuning_job import JobId

LEAST_SECONDS = 1.0
"""How long a job is in training at least before it makes room for another owner's."""

TURN_SECONDS = 300.0
"""After how long a job makes room for another owner that would then have as many jobs in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InTraining:
    """A job that a trainer has, its owner, and for how long it has been in training since it was taken up."""

    job_id: JobId
    owner: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a server's trainer should do now: take up the first of `next` that it can get, and pause jobs.

    `alone`: the job that is taken up is trained alone.
    """

    next: tuple[JobId, ...] = ()
    alone: bool = False
    pause: frozenset[JobId] = frozenset()


def turn_beside_suspects(
    running: Collection[JobId], suspects_running: Collection[JobId], suspects_waiting: Sequence[JobId]
) -> Turn | None:
    """The turn of a trainer while jobs are suspected of a trainer's death; None if none is.

    A suspect is trained alone. While suspects wait, all others make room, so that it is soon known which of them is the
    reason.
    """
    if suspects_running:
        return Turn(pause=frozenset(running) - {min(suspects_running)})
    if suspects_waiting:
        return Turn(pause=frozenset(running)) if running else Turn(next=tuple(suspects_waiting), alone=True)
    return None


def by_owners(
    waiting: Sequence[tuple[JobId, str]], running: Collection[InTraining], last_turns: Mapping[str, int]
) -> Iterator[tuple[JobId, str]]:
    """The waiting jobs, each with its owner, in the order in which they are to be taken up.

    The owner with the fewest jobs in training comes first; of several, the one whose last turn was longest ago, then
    the one that has waited longest. `waiting` is in the order of age, and so are each owner's jobs afterwards.
    """
    queues: dict[str, deque[JobId]] = {}
    for job_id, owner in waiting:
        queues.setdefault(owner, deque()).append(job_id)
    counts, turns = Counter(each.owner for each in running), dict(last_turns)
    latest = max(turns.values(), default=0)
    while queues:
        # The first of equals, which is the one that has waited longest.
        owner = min(queues, key=lambda each: (counts[each], turns.get(each, 0)))
        yield queues[owner].popleft(), owner
        latest += 1
        counts[owner] += 1
        turns[owner] = latest
        if not queues[owner]:
            del queues[owner]


def making_room(
    running: Collection[InTraining], next_owner: str, *, least_seconds: float = LEAST_SECONDS
) -> JobId | None:
    """The job that makes room for a waiting job of this owner, where all places are taken; None: it has to wait.

    The owner with the most jobs gives up the one that was taken up last, if it then still has no fewer than the next
    owner, and if it has had `least_seconds`. Owners that would only exchange their roles take turns of `TURN_SECONDS`.
    """
    counts = Counter(each.owner for each in running)
    ahead = [each for each in running if counts[each.owner] > counts[next_owner]]
    if not ahead:
        return None
    most = max(counts[each.owner] for each in ahead)
    richest = [each for each in ahead if counts[each.owner] == most]
    if most - counts[next_owner] > 1:
        youngest = min(richest, key=lambda each: each.seconds)
        return youngest.job_id if youngest.seconds >= least_seconds else None
    longest = max(richest, key=lambda each: each.seconds)
    return longest.job_id if longest.seconds >= TURN_SECONDS else None
