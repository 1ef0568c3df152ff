"""Chooses the jobs of the next passes: the job whose turn it is, and further jobs that can be computed with it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.tuning_job import JobId
from tuningfork.training.effort import Effort, Efforts
from tuningfork.training.jobs import AdmittedJob, tokens_and_targets
from tuningfork.training.pass_runner import PassRunner
from tuningfork.training.reports import ExamplesRefused, ExamplesUnrendered
from tuningfork.training.suspended import fit_together
from tuningfork.training.turns import LongTurns, OwnerTurns, evenly

_Jobs = Sequence[AdmittedJob]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLimits:
    """The most tokens and targets of a pass that jobs share, and the most tokens of a pass of one job (`own_tokens`).

    An example with more tokens has a pass of its own.
    """

    tokens: int
    targets: int
    own_tokens: int


class Scheduler:
    """Chooses the jobs of one engine's next passes. Not thread-safe.

    Args:
        passes: runs the passes of the engine.
        limits: those of shared passes.
        even: whether owners have equally many jobs in what is computed at a time. On a GPU small passes take as long
            with any number of jobs, so there they need not.
        monotonic: the seconds by which rendering is bounded; None: by characters alone.

    """

    def __init__(
        self, passes: PassRunner, limits: PassLimits, *, even: bool, monotonic: Callable[[], float] | None
    ) -> None:
        self._passes = passes
        self._limits = limits
        self._even = even
        self._efforts = Efforts(monotonic)
        self._owners = OwnerTurns()
        self._long = LongTurns(
            limits.tokens,
            lambda held: fit_together(held, passes.pass_bytes, passes.short_bytes),
            lambda job: passes.least_held_bytes(job, self._own_tokens(job)),
        )

    def at_admission(self, *, alone: bool) -> Effort:
        """The effort for checking a job's examples at its admission; `alone`: there is no other job."""
        return self._efforts.at_admission(alone=alone)

    def first_turns(self, owner: str) -> int:
        """The count of turns with which a new job of this owner begins."""
        return self._owners.first_turns(owner)

    def next_jobs(self, queue: dict[JobId, AdmittedJob]) -> list[AdmittedJob]:
        """Choose the job whose turn it is, and further jobs, fewest turns first, that can be computed with it.

        Of jobs with equally many turns those come first that are first in the queue. The chosen jobs move to its end.

        No jobs, if the turn was spent on rendering a part of its next step's examples. Each such part is a turn of its
        job, also if it was rendered with what was left of another job's effort.

        Raises:
            ExamplesRefused: an example of a job cannot be rendered or is too long.
            ExamplesUnrendered: examples of a job could not be rendered. An evaluation of it has to begin again.

        """
        # A job that has to wait keeps its owner's count of turns.
        in_order = self._owners.in_order(job for job in queue.values() if not job.is_done)
        due = self._long.runnable(in_order)
        if self._even:
            due = evenly(due)
        chosen, effort, unready = due[:1], self._efforts.before_pass(), list[AdmittedJob]()
        if chosen and chosen[0].under_way is None:
            unready = [] if self._prepare(chosen[0], effort) else [*chosen]
            if self._long.has_to_wait(chosen[0]):
                return []
            if chosen[0].evaluating is not None:
                chosen += self._parallel_evaluations(chosen[0], [job for job in due[1:] if job.evaluating], effort)
            elif not unready:
                between = [job for job in due[1:] if job.is_between_steps]
                joining, unready = self._jobs_sharing_pass(chosen[0], between, effort)
                chosen += joining
                for job in chosen:
                    with _named(job):
                        job.check_further(effort)
        self._owners.choose([*chosen, *(job for job in unready if job is not chosen[0])])
        for job in chosen:
            queue[job.definition.id] = queue.pop(job.definition.id)
        for job in unready:
            job.turns += 1
        if unready and unready[0] is chosen[0]:
            return []
        self._long.choose(chosen)
        return chosen

    def _prepare(self, job: AdmittedJob, effort: Effort) -> bool:
        """Render the examples of the job's next pass, at least one; whether all are rendered.

        Raises:
            ExamplesRefused, ExamplesUnrendered: see `next_jobs`.

        """
        with _named(job):
            if job.evaluating is None:
                return job.prepare_batch(effort)
            if job.evaluating.group is None:
                job.evaluating.group = next(job.evaluating.groups, None)
            return True

    def _parallel_evaluations(self, first: AdmittedJob, others: _Jobs, effort: Effort) -> list[AdmittedJob]:
        """The jobs whose next evaluation pass can be computed in parallel with the first job's."""
        if not self._passes.is_evaluation_small(first):
            return []
        joining: list[AdmittedJob] = []
        for job in others[: self._passes.lanes - 1]:
            self._prepare(job, effort)
            if self._passes.is_evaluation_small(job):
                joining.append(job)
        return joining

    def _jobs_sharing_pass(self, first: AdmittedJob, others: _Jobs, effort: Effort) -> tuple[_Jobs, list[AdmittedJob]]:
        """The jobs that can share the first job's pass, and those whose batches this effort was too little to render.

        The batches of all these jobs together fit into one pass; a batch that takes several passes is never shared.
        """
        joining, unready = list[AdmittedJob](), list[AdmittedJob]()
        places = self._passes.most_jobs - 1
        if not (places and self._passes.can_advance_beside_others(first)):
            return joining, unready
        tokens, targets = tokens_and_targets(first.next_batch())
        for job in others[:places] if self._fits(tokens, targets) else ():
            if effort.is_spent and not job.is_rendered:
                continue
            if not self._prepare(job, effort):
                unready.append(job)
                continue
            more_tokens, more_targets = tokens_and_targets(job.next_batch())
            tokens, targets = tokens + more_tokens, targets + more_targets
            if not (self._fits(tokens, targets) and self._passes.can_advance_beside_others(job)):
                break
            joining.append(job)
        return joining, unready

    def _own_tokens(self, job: AdmittedJob) -> int:
        """The most tokens of the job's next pass, apart from an example that is larger."""
        return self._limits.own_tokens if job.evaluating is None else self._limits.tokens

    def _fits(self, tokens: int, targets: int) -> bool:
        """Whether so many tokens and targets fit into a pass that jobs share."""
        return tokens <= self._limits.tokens and targets <= self._limits.targets


@contextmanager
def _named(job: AdmittedJob) -> Iterator[None]:
    """Name the job in errors of its examples."""
    try:
        yield
    except InvalidArgument as error:
        raise ExamplesRefused(job.definition.id, error.message, error.violations) from error
    except InternalError as error:
        raise ExamplesUnrendered(job.definition.id, error.message) from error
