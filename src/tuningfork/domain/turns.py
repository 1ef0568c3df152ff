"""Which jobs a trainer takes up next, and which make room: one pure rule."""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from tuningfork.domain.tuning_job import JobId

LEAST_SECONDS = 1.0
"""How long a job is in training at least before it makes room for another owner's."""

TURN_SECONDS = 300.0
"""After how long a job makes room for another owner that would then have as many jobs in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """On whose behalf a job is done: its project, and the address of the owner of its model; "": nobody owns it."""

    project: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InTraining:
    """A job that a trainer has, on whose behalf, and for how long it has been in training since it was taken up."""

    job_id: JobId
    tenant: Tenant
    seconds: float


@dataclass(slots=True)
class LastTurns:
    """Remembers whose turn it was last, by project and by owner."""

    _number: int = 0
    _projects: dict[str, int] = field(default_factory=dict)
    _owners: dict[str, int] = field(default_factory=dict)

    def taken(self, tenant: Tenant) -> None:
        """Note that a job of this tenant has been taken up."""
        self._number += 1
        self._projects[tenant.project] = self._owners[tenant.owner] = self._number

    def of(self, tenant: Tenant) -> int:
        """The number of the last turn that the tenant's project or owner had; 0: neither has had one."""
        return max(self._projects.get(tenant.project, 0), self._owners.get(tenant.owner, 0))

    def of_owner(self, tenant: Tenant) -> int:
        """The number of the owner's last turn; 0: there was none."""
        return self._owners.get(tenant.owner, 0)

    def copy(self) -> "LastTurns":
        """The same turns, to which others can be added apart."""
        return LastTurns(self._number, {**self._projects}, {**self._owners})


@dataclass(frozen=True, slots=True)
class _Shares:
    """How many jobs of each project and of each owner are under way."""

    projects: Counter[str]
    owners: Counter[str]

    @classmethod
    def of(cls, tenants: Iterable[Tenant]) -> Self:
        shares = cls(Counter(), Counter())
        for tenant in tenants:
            shares.add(tenant)
        return shares

    def add(self, tenant: Tenant) -> None:
        self.projects[tenant.project] += 1
        self.owners[tenant.owner] += 1

    def share(self, tenant: Tenant) -> int:
        """The jobs of the project or of the owner, whichever has more: who names many projects gains nothing by it."""
        return max(self.projects[tenant.project], self.owners[tenant.owner])

    def own(self, tenant: Tenant) -> int:
        """The jobs of the owner."""
        return self.owners[tenant.owner]


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


def in_turn(
    waiting: Sequence[tuple[JobId, Tenant]], under_way: Collection[Tenant], last_turns: LastTurns
) -> Iterator[tuple[JobId, Tenant]]:
    """The waiting jobs, each with its tenant, in the order in which they are to be taken up.

    The project with the fewest jobs under way comes first; of several, the one whose last turn was longest ago. Within
    a project the same holds of owners, and then age counts. An owner who names several projects has no more than one
    project's share. `waiting` is in the order of age, and so are each tenant's jobs afterwards.
    """
    queues: dict[Tenant, deque[JobId]] = {}
    for job_id, tenant in waiting:
        queues.setdefault(tenant, deque()).append(job_id)
    shares, turns = _Shares.of(under_way), last_turns.copy()
    while queues:
        # The first of equals, which is the one that has waited longest.
        tenant = min(
            queues, key=lambda each: (shares.share(each), turns.of(each), shares.own(each), turns.of_owner(each))
        )
        yield queues[tenant].popleft(), tenant
        shares.add(tenant)
        turns.taken(tenant)
        if not queues[tenant]:
            del queues[tenant]


def making_room(
    running: Collection[InTraining], following: Tenant, *, least_seconds: float = LEAST_SECONDS
) -> JobId | None:
    """The job that makes room for a waiting job of this tenant, where all places are taken; None: it has to wait.

    The project with the most jobs gives up the one that was taken up last, if it then still has no fewer than the
    waiting one's project, and if the job has had `least_seconds`. Projects that would only exchange their roles take
    turns of `TURN_SECONDS`. Where no project has more than the waiting one's, the same holds of that project's owners.
    """
    shares = _Shares.of(each.tenant for each in running)
    counts = {each.job_id: shares.share(each.tenant) for each in running}
    if any(count > shares.share(following) for count in counts.values()):
        return _leaving(running, counts, shares.share(following), shares, least_seconds)
    beside = [each for each in running if each.tenant.project == following.project]
    counts = {each.job_id: shares.own(each.tenant) for each in beside}
    return _leaving(beside, counts, shares.own(following), shares, least_seconds)


def _leaving(
    running: Collection[InTraining], counts: dict[JobId, int], following: int, shares: _Shares, least_seconds: float
) -> JobId | None:
    """The one of these jobs that leaves for a tenant with so many. `counts`: how many the tenant of each job has."""
    most = max(counts.values(), default=0)
    if most <= following:
        return None
    richest = [each for each in running if counts[each.job_id] == most]
    if most - following > 1:
        youngest = min(richest, key=lambda each: (-shares.own(each.tenant), each.seconds))
        return youngest.job_id if youngest.seconds >= least_seconds else None
    longest = max(richest, key=lambda each: each.seconds)
    return longest.job_id if longest.seconds >= TURN_SECONDS else None
