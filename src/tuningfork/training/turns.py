"""Whose job the next pass is for: owners get equal shares of the trainer, and so do the jobs of one owner.

Shares are counted in turns, a unit of computation (`AdmittedJob.turns`): a pass counts as one or more by its tokens.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tuningfork.domain.tuning_job import JobId
from tuningfork.training.jobs import AdmittedJob


class OwnerTurns:
    """Counts the turns that each owner's jobs have had. A new owner begins with the least count of the others."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}
        # The jobs chosen last, each with its turns before.
        self._chosen: list[tuple[AdmittedJob, int]] = []
        # The turns of the job of each owner that was last chosen before its others.
        self._latest: dict[str, int] = {}

    def in_order(self, jobs: Iterable[AdmittedJob]) -> list[AdmittedJob]:
        """The jobs in order: first the owner with the fewest turns, and of its jobs the one with the fewest.

        An owner who has none of these jobs is forgotten, so they are all unfinished jobs, also those that have to wait.
        """
        waiting = list(jobs)
        for each, before in self._chosen:
            owner = each.definition.owner
            self._turns[owner] = self._turns.get(owner, 0) + each.turns - before
        self._chosen = []
        owners = {each.definition.owner for each in waiting}
        least = min((turns for owner, turns in self._turns.items() if owner in owners), default=0)
        self._turns = {owner: max(least, self._turns.get(owner, least)) for owner in owners}
        self._latest = {owner: turns for owner, turns in self._latest.items() if owner in owners}
        return sorted(waiting, key=lambda each: (self._turns[each.definition.owner], each.turns))

    def choose(self, jobs: Sequence[AdmittedJob]) -> None:
        """Note which jobs the next passes are for; their turns are counted when they have been taken."""
        self._chosen = [(each, each.turns) for each in jobs]
        self._latest |= {each.definition.owner: each.turns for each in reversed(jobs)}

    def first_turns(self, owner: str) -> int:
        """The count with which a new job of this owner begins, so that it comes after the owner's waiting jobs.

        It is one turn more than the job of the owner that was last chosen had before its pass. The turns of that pass
        itself are left out, since after a large one the new job would wait until the others had as many.
        """
        return self._latest.get(owner, 0) + 1


class LongTurns:
    """Decides which jobs may begin a pass that is run in parts, beside the passes that are suspended.

    Of examples with more than `most_tokens` tokens, one is in a suspended pass at a time. All suspended passes together
    hold no more memory than `fit_together` allows, which is given the bytes of each; `least_held_bytes` tells what a
    job's next pass holds at least, 0 if it is not run in parts. A pass that is suspended always goes on, and one that
    is not rendered yet never waits.
    """

    def __init__(
        self,
        most_tokens: int,
        fit_together: Callable[[Sequence[int]], bool],
        least_held_bytes: Callable[[AdmittedJob], int],
    ) -> None:
        self.most_tokens = most_tokens
        self._fit_together = fit_together
        self._least_held_bytes = least_held_bytes
        self._held: list[int] = []
        self._is_taken = False
        # The job that begins its pass before others that would keep it waiting: it waited while it was its turn.
        self._next: JobId | None = None
        # Whether that job's pass has such an example, and what the pass holds.
        self._next_is_long = False
        self._next_bytes = 0

    def runnable(self, in_order: Sequence[AdmittedJob]) -> list[AdmittedJob]:
        """Those that do not have to wait, of all unfinished jobs in the order of their turns."""
        suspended = [each.suspended for each in in_order if each.suspended is not None]
        self._held = [each.held_bytes for each in suspended]
        self._is_taken = any(each.longest > self.most_tokens for each in suspended)
        found = next((each for each in in_order if each.definition.id == self._next and self._begins(each)), None)
        if found is None:
            self._next = None
            if in_order and self.has_to_wait(in_order[0]):
                found = in_order[0]
        if found is not None:
            self._next, self._next_is_long = found.definition.id, self._is_long(found)
            self._next_bytes = self._least_held_bytes(found)
        return [each for each in in_order if not self.has_to_wait(each)]

    def has_to_wait(self, job: AdmittedJob) -> bool:
        """Whether this job, which was among those given to `runnable`, would begin such a pass now, and must not."""
        if not self._begins(job):
            return False
        another_is_next = self._next not in {None, job.definition.id}
        if self._is_long(job) and (self._is_taken or (another_is_next and self._next_is_long)):
            return True
        own, held = self._least_held_bytes(job), [*self._held, *([self._next_bytes] if another_is_next else [])]
        return own > 0 and not self._fit_together([*held, own])

    def choose(self, jobs: Iterable[AdmittedJob]) -> None:
        """Note which jobs the next passes are for."""
        if any(each.definition.id == self._next for each in jobs):
            self._next = None

    def _begins(self, job: AdmittedJob) -> bool:
        """Whether the job's next pass is one that may have to wait, and is not suspended."""
        return job.suspended is None and (self._is_long(job) or self._least_held_bytes(job) > 0)

    def _is_long(self, job: AdmittedJob) -> bool:
        """Whether the job's next pass begins an example of more than `most_tokens` tokens."""
        return job.suspended is None and job.longest_next > self.most_tokens


def evenly(jobs: Sequence[AdmittedJob]) -> list[AdmittedJob]:
    """Of each owner as many of these jobs as the owner with the fewest has, in the given order.

    A pass that jobs share takes as long as all of them together, so an owner with many jobs in it would have most of
    the trainer's time.
    """
    most = min(Counter(each.definition.owner for each in jobs).values(), default=0)
    taken: Counter[str] = Counter()
    chosen = []
    for each in jobs:
        taken[each.definition.owner] += 1
        if taken[each.definition.owner] <= most:
            chosen.append(each)
    return chosen
