"""Carries evaluation runs out: claims them, records answers, sums up scores, ends them.

A run is held by one server at a time, under a lease, as tuning jobs are; see
docs/adr/0014-leases-without-a-common-clock.md.
What was answered is in the database, so a run that loses its server goes on where it was.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.evaluation_run import EvaluatedModel, EvaluationRow, EvaluationRun, ModelAnswer, RunState
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.score_intervals import DRAWS, ScoreSummary, summary_of
from tuningfork.service.evaluating.leaks import LeakSearch
from tuningfork.service.identity.keys import Access
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS, RENEWALS_IN_A_LEASE, LeaseWatch
from tuningfork.store import evaluation_rows, evaluation_runs
from tuningfork.store.database import Database
from tuningfork.store.evaluation_runs import RunClaim, RunLease
from tuningfork.store.leases import ServerId

_PASSING_DRAWS = 200
"""How many draws a summary has while its run goes on: enough for a first look, at a fifth of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRun:
    """A run that this server carries out, for whom, and what is left of it: examples with the indexes of models."""

    claim: RunClaim
    run: EvaluationRun
    principal: Principal
    left: Sequence[tuple[EvaluationRow, int]]


class EvaluationRunning:
    """The use cases of the loop that carries runs out. Thread-safe.

    `lease_seconds` is how long a run is another server's that does not renew its lease, by this server's clock
    `monotonic`.
    """

    def __init__(
        self,
        database: Database,
        server: ServerId,
        access: Access,
        leaks: LeakSearch,
        clock: Callable[[], datetime],
        *,
        lease_seconds: float = LEASE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._server = server
        self._access = access
        self._leaks = leaks
        self._clock = clock
        self._monotonic = monotonic
        self._watch = LeaseWatch[RunLease](lease_seconds, monotonic)
        self._renew_every_seconds = lease_seconds / RENEWALS_IN_A_LEASE
        self._last_renewal = -lease_seconds
        self._lock = threading.Lock()
        self._claims: set[RunClaim] = set()

    def take_back(self) -> None:
        """Let the runs wait again that this server held when it ended. To be called before the first claim."""
        with self._database.write() as connection:
            for lease in evaluation_runs.leases(connection):
                if lease.claim.server == self._server:
                    evaluation_runs.give_back(connection, lease.claim)

    def keep_leases(self) -> None:
        """Renew the leases of this server's runs, and let runs wait again whose server has died.

        To be called often; does nothing unless a renewal is due.
        """
        now = self._monotonic()
        if now - self._last_renewal < self._renew_every_seconds:
            return
        self._last_renewal = now
        with self._database.read() as connection:
            found = evaluation_runs.leases(connection)
        with self._lock:
            own = set(self._claims)
        held = [lease.claim for lease in found if lease.claim in own]
        lost = self._watch.run_out([lease for lease in found if lease.claim not in own])
        if held or lost:
            with self._database.write(durable=False) as connection:
                evaluation_runs.renew(connection, held)
                for lease in lost:
                    evaluation_runs.give_back(connection, lease.claim)

    def claim(self, busy: Collection[Email]) -> ClaimedRun | None:
        """Take the run that has waited longest, of an owner without a running one; None: none is to be taken.

        `busy` are owners whose runs are not wanted.
        """
        with self._database.read() as connection:
            if evaluation_runs.next_queued(connection, busy) is None:
                return None
        with self._database.write() as connection:
            waiting = evaluation_runs.next_queued(connection, busy)
            claim = None if waiting is None else evaluation_runs.take(connection, waiting, self._server, self._clock())
            run = None if claim is None else evaluation_runs.hold(connection, claim)
            if claim is None or run is None:
                return None
            done = evaluation_rows.answered(connection, run.id)
            rows = list(evaluation_rows.rows_of(connection, run.id))
        with self._lock:
            self._claims.add(claim)
        # All models are asked about an example one after the other, so that examples can be compared early.
        left = [(row, model) for row in rows for model in range(len(run.models)) if (row.number, model) not in done]
        principal = self._access.principal(run.owner, run.project, run.credential)
        return ClaimedRun(claim=claim, run=run, principal=principal, left=left)

    def look_for_leaks(self, claimed: ClaimedRun) -> None:
        """Note which of the run's examples its models were trained on, unless that was done before."""
        if not any(LeakSearch.is_due(model) for model in claimed.run.models):
            return
        with self._database.read() as connection:
            rows = list(evaluation_rows.rows_of(connection, claimed.run.id))
        models, leaked = self._leaks.search(claimed.principal, claimed.run.models, rows)
        with self._database.write() as connection:
            if (run := evaluation_runs.hold(connection, claimed.claim)) is not None:
                evaluation_rows.mark_leaked(connection, run.id, leaked)
                evaluation_runs.update(connection, self._now(run, models))

    def record(self, claim: RunClaim, answers: Sequence[ModelAnswer]) -> bool:
        """Write answers; returns whether the run is to go on: it was neither stopped nor deleted nor lost.

        Answers to a run that is to be stopped are written; to one that was lost or deleted they are dropped.
        """
        if not answers:
            with self._database.read() as connection:
                run = evaluation_runs.find(connection, claim.run_id)
                held = {lease.claim for lease in evaluation_runs.leases(connection)}
            return run is not None and claim in held and not run.stop_requested
        # Not durable: what a power cut undoes is asked again.
        with self._database.write(durable=False) as connection:
            run = evaluation_runs.hold(connection, claim)
            if run is None:
                return False
            evaluation_rows.insert_answers(connection, run.id, answers)
            evaluation_runs.update(connection, self._now(run))
        return not run.stop_requested

    def sum_up(self, claim: RunClaim) -> None:
        """Compute the scores of the answers so far."""
        summary = self._summary(claim, _PASSING_DRAWS)
        with self._database.write(durable=False) as connection:
            if (run := evaluation_runs.hold(connection, claim)) is not None:
                evaluation_runs.update(connection, replace(self._now(run), summary=summary))

    def end(self, claim: RunClaim, error: str = "") -> bool:
        """End a run with the scores of its answers; returns whether it was still this server's.

        `error` "": it was answered as a whole, or its owner stopped it.
        """
        summary = self._summary(claim, DRAWS)
        now = self._clock()
        with self._database.write() as connection:
            if (run := evaluation_runs.hold(connection, claim)) is not None:
                ended = RunState.FAILED if error else RunState.STOPPED if run.answers_left else RunState.SUCCEEDED
                evaluation_runs.update(connection, replace(run, error=error))
                evaluation_runs.end(connection, run.id, ended, now, summary)
        self._let_go(claim)
        return run is not None

    def give_back(self, claim: RunClaim) -> bool:
        """Let a run wait again, for this server or another one; returns whether it was still this server's."""
        with self._database.write() as connection:
            was_held = evaluation_runs.give_back(connection, claim)
        self._let_go(claim)
        return was_held

    def _let_go(self, claim: RunClaim) -> None:
        with self._lock:
            self._claims.discard(claim)

    def _summary(self, claim: RunClaim, draws: int) -> ScoreSummary | None:
        with self._database.read() as connection:
            run = evaluation_runs.find(connection, claim.run_id)
            scores = evaluation_rows.scores_of(connection, claim.run_id)
        if run is None:
            return None
        models = range(len(run.models))
        # Examples that all have answered; then the same ones are compared.
        whole = [of_models for of_models in scores.values() if len(of_models) == len(run.models)]
        return summary_of([[each[model] for each in whole] for model in models], run.measures, draws=draws)

    def _now(self, run: EvaluationRun, models: tuple[EvaluatedModel, ...] | None = None) -> EvaluationRun:
        return replace(run, update_time=self._clock(), models=models or run.models)
