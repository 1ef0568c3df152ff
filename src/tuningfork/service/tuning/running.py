"""What the dispatcher does with a job: claims it, records its steps, ends it, or gives it back to the queue.

A claimed job is held by this server until the job ends or is given back. Every method may be called for a job that was
deleted in the meantime; then its files are removed. It may also be called for a job that another server has taken over,
since this server was paused for longer than a lease; then nothing is written, and the trainer is told to stop.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from enum import Enum

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel, Catalog
from tuningfork.domain.errors import Code
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.findings import Finding
from tuningfork.domain.tuning_job import JobError, JobId, JobState, Snapshot, TuningJob
from tuningfork.execution.base import TrainingAssignment
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning import checkpointing, conclusion, diagnosing, recording, tidying
from tuningfork.service.tuning.blame import blame
from tuningfork.service.tuning.claims import Claims
from tuningfork.service.tuning.job_names import JobNames
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS
from tuningfork.service.tuning.project_quota import UNLIMITED_PROJECTS, ProjectQuota
from tuningfork.service.tuning.speeds import Speeds
from tuningfork.service.tuning.turns import Turns
from tuningfork.store import checkpoints, leases, suspects, tuned_models, tuning_jobs
from tuningfork.store import snapshots as snapshot_rows
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.leases import Claim, ServerId

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""A job fails after this many trainers in a row have died while they trained it alone, without a further step."""


class StepReply(Enum):
    """Whether a trainer should go on with a job after a step, or stop it."""

    CONTINUE = "continue"
    STOP = "stop"


class Running:
    """The use cases of jobs while they are waiting and running.

    `server` is the id of this server. `monotonic` is a monotonic clock in seconds, by which leases are renewed and
    watched.
    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        clock: Callable[[], datetime],
        metrics: Metrics,
        *,
        server: ServerId,
        savepoint_every: int,
        lease_seconds: float = LEASE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        project_quota: ProjectQuota = UNLIMITED_PROJECTS,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._metrics = metrics
        self._server = server
        self._savepoint_every = savepoint_every
        self._claims = Claims(database, server, leases.running, lease_seconds=lease_seconds, monotonic=monotonic)
        self._project_quota = project_quota
        self.names = JobNames(database)
        self.turns = Turns(database, artifacts, catalog, project_quota)
        self.speeds = Speeds(monotonic)

    def claim(self, candidates: Sequence[JobId] | None = None) -> TrainingAssignment | None:
        """Claim the first of these jobs that is queued; only one of several callers gets it. None if none is queued.

        `candidates` None: the jobs whose turn it is on a trainer that has no job.

        """
        if candidates is None:
            candidates = self.turns.turn({}, 1).next
        if not candidates:
            return None
        with self._database.write() as connection:
            claimed = self._claim_first(connection, candidates)
        if claimed is None:
            return None
        job, base, goes_on, claim = claimed
        self._claims.add(claim)
        self.speeds.claimed(job.id, base.name, type(job.hyperparameters.objective))
        owner = self.turns.taken(job.id)
        if job.start_time is None:
            self._metrics.queue_wait_seconds.observe((self._clock() - job.create_time).total_seconds())
        return TrainingAssignment(
            job_id=job.id,
            base=base,
            dataset=self._artifacts.dataset(job.id),
            work=self._artifacts.work(job.id),
            hyperparameters=job.hyperparameters,
            adapter=job.adapter,
            seed=job.seed,
            savepoint_every=self._savepoint_every,
            initial_adapter=self._artifacts.source(job.id) if goes_on else None,
            validation=self._artifacts.validation(job.id) if job.validation_count else None,
            evaluate_every=job.evaluate_every,
            checkpoints=job.checkpoints,
            keep_best=job.keep_best,
            early_stopping=job.early_stopping,
            owner=owner,
            model=job.model_id,
        )

    def unwritable(self) -> str | None:
        """Why nothing can be written to disk or database at the moment; None if writing works."""
        return self._artifacts.refusal()

    def resumed(
        self,
        job_id: JobId,
        step: int,
        snapshots: Collection[Snapshot] = (),
        evaluated: Collection[Evaluation] = (),
    ) -> StepReply:
        """Record that the trainer has resumed the job after this step.

        Later snapshots and evaluations are removed, since the trainer will report them again. Earlier ones that the
        database has lost are restored from `snapshots` and `evaluated`.
        """
        with self._database.write() as connection:
            job = tuning_jobs.find(connection, job_id) if leases.hold(connection, self._claims.of(job_id)) else None
            if job is None:
                return StepReply.STOP
            recording.rewind(connection, job_id, step, snapshots, evaluated)
        return StepReply.STOP if job.cancel_requested else StepReply.CONTINUE

    def record(self, job_id: JobId, snapshot: Snapshot, tokens: int) -> StepReply:
        """Record a step. The reply is to stop if the job was cancelled or deleted, or another server holds it now."""
        # If a power cut undoes this write, the trainer reports the step again when the job resumes.
        with self._database.write(durable=False) as connection:
            held = leases.hold(connection, self._claims.of(job_id))
            cancel_requested = snapshot_rows.append_snapshot(connection, job_id, snapshot) if held else None
        if not held:
            return StepReply.STOP
        self._metrics.steps.inc()
        self._metrics.trained_tokens.inc(tokens)
        self.speeds.stepped(job_id, tokens)
        return StepReply.CONTINUE if cancel_requested is False else StepReply.STOP

    def evaluated(self, job_id: JobId, evaluation: Evaluation) -> StepReply:
        """Record an evaluation. The reply is as in `record`."""
        if recording.record_evaluation(self._database, self._claims.of(job_id), evaluation):
            said = f"after step {evaluation.step} its validation loss is {evaluation.mean_loss:.4g}"
            logger.info("job %s: %s", job_id, said, extra=self.names.labels("job_evaluated", job_id))
        return StepReply.STOP if self.unwanted([job_id]) else StepReply.CONTINUE

    def checkpoint_kept(self, job_id: JobId, step: int, epoch: int, adapter: ArtifactRef) -> StepReply:
        """Copy the adapter of this step to a checkpoint, and record the checkpoint. The reply is as in `record`.

        `adapter` is an artifact in the trainer's work directory. May be repeated, since the trainer reports its
        checkpoints again after a crash: a checkpoint that is recorded already is not changed.
        """
        recording.keep_checkpoint(self._database, self._artifacts, self._claims.of(job_id), step, epoch, adapter)
        return StepReply.STOP if self.unwanted([job_id]) else StepReply.CONTINUE

    def finish(self, job_id: JobId, adapter: ArtifactRef) -> None:
        """Install the adapter, then end the job and make its model ACTIVE. May be repeated after a crash."""
        claim = self._claims.of(job_id)
        if self._running(claim) is not None:
            self._artifacts.install_adapter(job_id, adapter)
            self._end(claim, conclusion.succeed, keeps_adapter=True)

    def stopped(self, job_id: JobId, adapter: ArtifactRef | None) -> None:
        """End a job that its trainer stopped between steps as cancelled; queue it again if nobody had cancelled it."""
        claim = self._claims.of(job_id)
        job = self._running(claim)
        if job is None:
            return
        if not job.cancel_requested:
            self.give_back(job_id, died=False, reason="stopped between steps")
            return
        if adapter is not None:
            self._artifacts.install_adapter(job_id, adapter)
        self._cancel(claim, keeps_adapter=adapter is not None)

    def fail(self, job_id: JobId, code: Code, message: str) -> None:
        """End a job that cannot go on, with an error for its owner."""
        self._fail(self._claims.of(job_id), JobError(code=code, message=message))

    def give_back(self, job_id: JobId, *, died: bool, reason: str = "", shared_death: str | None = None) -> None:
        """Queue the job again; another trainer resumes it from its last savepoint.

        Args:
            job_id: the job.
            died: whether its trainer died. After `MAX_ATTEMPTS` deaths of trainers that had no other job, without a
                further step, the job fails, since it is the cause.
            reason: why the job is queued again, for its events, and for its owner if it fails.
            shared_death: the id of the trainer's death, if the trainer had other jobs too. Then the death does not
                count towards the job's failure, but the job is next trained alone, and so is each of the others.

        """
        self._give_back(self._claims.of(job_id), died=died, reason=reason, shared_death=shared_death)

    def unwanted(self, job_ids: Collection[JobId]) -> set[JobId]:
        """Those of these jobs that were cancelled or deleted, or that another server has taken over."""
        with self._database.read() as connection:
            wanted = tuning_jobs.wanted_ids(connection, job_ids)
            return set(job_ids) - (wanted & self._claims.still_held(connection, job_ids))

    def requeue_interrupted(self) -> list[JobId]:
        """Queue the jobs again that this server was running when it ended. To be called once, before the first claim.

        A job without a holder comes from a version of Tuningfork that allowed only one server for each database.
        """
        with self._database.read() as connection:
            running = leases.running(connection)
        interrupted = [lease.claim for lease in running if lease.claim.server in (self._server, None)]
        for claim in interrupted:
            self._give_back(claim, died=False, reason="the server was restarted")
        return [claim.job_id for claim in interrupted]

    def keep_leases(self) -> list[JobId]:
        """Renew the leases of this server's jobs, and queue jobs of other servers again whose leases have run out.

        To be called often; does nothing unless a renewal is due.

        Returns:
            The jobs that were queued again, so that a server that has their data can claim them.

        """
        abandoned = self._claims.renew().run_out
        for claim in abandoned:
            self._give_back(claim, died=False, reason="its server did not renew its lease")
        return [claim.job_id for claim in abandoned]

    def sweep(self) -> list[JobId]:
        """Remove the files of deleted jobs, and set aside what the database does not know; see `tidying.sweep`.

        Only at the start, after `requeue_interrupted` and before requests are served.
        """
        swept = tidying.sweep(self._database, self._artifacts)
        tidying.say_lacking(self._database, self._artifacts, self._server)
        return swept

    def remove_deferred(self) -> None:
        """Remove the files that had to stay while a backup was made. To be called often."""
        self._artifacts.remove_deferred()

    def _claim_first(
        self, connection: Transaction, candidates: Sequence[JobId]
    ) -> tuple[TuningJob, BaseModel, bool, Claim] | None:
        """Claim the first candidate. Returns the job, its base, whether it starts from a tuned model, the claim."""
        job = tuning_jobs.first_queued(connection, candidates)
        # Counted again: another server may have taken up a job of the same project since the turn was decided.
        if job is None or not self._project_quota.has_place(connection, job.project):
            return None
        if not tuning_jobs.move(connection, job.id, JobState.RUNNING, self._clock()):
            return None
        model = tuned_models.find(connection, job.model_id)
        served = self._catalog.find(job.base_model, job.resolved_base)
        assert model is not None  # noqa: S101 - no job without its model
        assert served is not None  # noqa: S101 - as was asked for
        # Within the transaction, so that the job stays queued if the disk is full.
        self._artifacts.prepare_work(job.id)
        return job, served.base, model.source is not None, leases.take(connection, job.id, self._server)

    def _give_back(self, claim: Claim, *, died: bool, reason: str, shared_death: str | None = None) -> None:
        job = self._running(claim)
        if job is None:
            return
        alone = died and shared_death is None
        if alone and job.attempts >= MAX_ATTEMPTS:
            self._fail(claim, JobError(code=Code.INTERNAL, message=blame(job, reason)), is_reason=True)
        elif job.cancel_requested and not job.completed_steps:
            self._cancel(claim, keeps_adapter=False)
        else:
            self._requeue(claim, reason=reason, died_alone=alone, shared_death=shared_death)

    def _fail(self, claim: Claim, error: JobError, *, is_reason: bool = False) -> None:
        """End the job with this error. `is_reason`: it is the reason why its trainer died."""

        def conclude(connection: Transaction, job: TuningJob, now: datetime, _: Sequence[Finding]) -> bool:
            if is_reason:
                suspects.close_case(connection, job.id)
            return conclusion.fail(connection, job, now, error)

        self._end(claim, conclude, keeps_adapter=False)

    def _requeue(self, claim: Claim, *, reason: str, died_alone: bool, shared_death: str | None) -> None:
        job_id = claim.job_id
        with self._database.write() as connection:
            moved = leases.hold(connection, claim) and tuning_jobs.move(
                connection, job_id, JobState.QUEUED, self._clock(), reason=reason
            )
            if moved and not died_alone:
                tuning_jobs.forget_attempt(connection, job_id)
            if moved and (died_alone or shared_death):
                death = shared_death or f"{job_id}-{claim.number}"
                suspects.accuse(connection, job_id, death, shared=shared_death is not None)
        if moved:
            self._let_go(claim)
        else:
            self._running(claim)

    def _cancel(self, claim: Claim, *, keeps_adapter: bool) -> None:
        self._end(
            claim,
            lambda connection, job, now, findings: conclusion.cancel(
                connection, job, now, findings, keeps_adapter=keeps_adapter
            ),
            keeps_adapter=keeps_adapter,
        )

    def _running(self, claim: Claim) -> TuningJob | None:
        """The job, if it is running and the claim on it is valid. If the job was deleted, its files are removed."""
        with self._database.read() as connection:
            job = tuning_jobs.find(connection, claim.job_id)
            held = bool(leases.still_held(connection, [claim]))
        if job is None:
            tidying.remove_if_deleted(self._database, self._artifacts, claim.job_id)
        if not held:
            self._let_go(claim)
        return job if held else None

    def _let_go(self, claim: Claim) -> None:
        """Forget the claim, unless this server has claimed the job again since."""
        if self._claims.let_go(claim):
            self.speeds.let_go(claim.job_id)

    def _end(
        self,
        claim: Claim,
        conclude: Callable[[Transaction, TuningJob, datetime, Sequence[Finding]], bool],
        *,
        keeps_adapter: bool,
    ) -> None:
        """End a running job in one transaction, and remove the files that are not needed any more."""
        job_id, ended = claim.job_id, None
        listed: set[str] = set()
        findings = diagnosing.findings_of(self._database, job_id) if keeps_adapter else ()
        with self._database.write() as connection:
            held = leases.hold(connection, claim)
            job = tuning_jobs.find(connection, job_id)
            if job is not None and held and conclude(connection, job, self._clock(), findings):
                if keeps_adapter:
                    checkpointing.record_last(connection, job, self._artifacts.adapter(job_id))
                else:
                    checkpointing.forget_all(connection, job_id)
                ended = tuning_jobs.find(connection, job_id)
                listed = {each.artifact for each in checkpoints.checkpoints_of(connection, job_id)}
        self._let_go(claim)
        if job is None:
            tidying.remove_if_deleted(self._database, self._artifacts, job_id)
        if ended is not None:
            self._artifacts.discard_work(job_id)
            self._artifacts.discard_checkpoints(job_id, besides=listed)
            if not keeps_adapter:
                # A crash after installing an adapter and before the end of the job can have left the adapter.
                self._artifacts.discard_adapter(job_id)
            self._observe_end(ended)
            if keeps_adapter:
                diagnosing.tell(ended, findings, self._metrics)

    def _observe_end(self, job: TuningJob) -> None:
        assert job.start_time is not None  # noqa: S101 - the table says so of jobs that ran
        assert job.complete_time is not None  # noqa: S101 - and of jobs that ended
        seconds = (job.complete_time - job.start_time).total_seconds()
        self._metrics.run_seconds.labels(job.state.value).observe(seconds)
        labels = self.names.labels(f"job_{job.state.value}", job.id)
        logger.info("job %s %s", job.id, job.state.value, extra=labels)
        if job.stopped_early:
            with self._database.read() as connection:
                why = conclusion.why_early(connection, job)
            logger.info("job %s: %s", job.id, why, extra=self.names.labels("job_stopped_early", job.id))
