"""The dispatcher's side of a job: take it up, note its steps, end it; or give it back.

Every method may be called for a job that was deleted meanwhile: what is left of it is then cleaned up.
"""

import logging
from collections.abc import Callable, Collection
from datetime import datetime
from enum import Enum
from pathlib import Path

from tuningfork.domain.base_model import BaseModel, Catalog
from tuningfork.domain.errors import RpcCode
from tuningfork.domain.tuning_job import JobError, JobId, JobState, Snapshot, TuningJob
from tuningfork.execution.base import TrainingAssignment
from tuningfork.service import conclusion
from tuningfork.service.metrics import Metrics
from tuningfork.store import tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""So often may a trainer end in the middle of a job without a further step; then the job itself is to blame."""


class Verdict(Enum):
    """What a trainer should do after a step."""

    GO_ON = "go on"
    STOP = "stop"


class Running:
    """The use cases of jobs while they are waiting and running."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        clock: Callable[[], datetime],
        metrics: Metrics,
        *,
        checkpoint_every: int,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._metrics = metrics
        self._checkpoint_every = checkpoint_every
        self._served = [model.name for model in catalog.public_models()]

    def claim(self) -> TrainingAssignment | None:
        """Take up the job that has waited longest; of several callers one gets it. None if none waits.

        A job whose base model has left the catalog goes on waiting for it.
        """
        with self._database.write() as connection:
            claimed = self._claim_oldest(connection)
        if claimed is None:
            return None
        job, base, goes_on = claimed
        if job.start_time is None:
            self._metrics.queue_wait_seconds.observe((self._clock() - job.create_time).total_seconds())
        return TrainingAssignment(
            job_id=job.id,
            base=base,
            dataset_path=self._artifacts.dataset_path(job.id),
            work_directory=self._artifacts.work_directory(job.id),
            hyperparameters=job.hyperparameters,
            adapter=job.adapter,
            seed=job.seed,
            checkpoint_every=self._checkpoint_every,
            initial_adapter=self._artifacts.source_directory(job.id) if goes_on else None,
        )

    def stranded(self) -> list[TuningJob]:
        """The waiting jobs whose base model is not in the catalog, the oldest first, without their snapshots."""
        with self._database.read() as connection:
            return tuning_jobs.queued_without(connection, self._served)

    def unwritable(self) -> str | None:
        """Why nothing can be kept at the moment; None if it can."""
        return self._artifacts.refusal()

    def resumed(self, job_id: JobId, step: int, snapshots: Collection[Snapshot] = ()) -> Verdict:
        """Go back to this step: later snapshots will come again, and earlier ones that were lost are filled in."""
        with self._database.write() as connection:
            tuning_jobs.hold(connection, job_id)
            job = tuning_jobs.find(connection, job_id)
            if job is None or job.state is not JobState.RUNNING:
                return Verdict.STOP
            tuning_jobs.drop_snapshots(connection, job_id, after_step=step)
            tuning_jobs.add_missing_snapshots(connection, job_id, snapshots)
        return Verdict.STOP if job.cancel_requested else Verdict.GO_ON

    def record(self, job_id: JobId, snapshot: Snapshot, tokens: int) -> Verdict:
        """Note a step. The answer is to stop if somebody cancelled or deleted the job."""
        # A step that a power cut undoes is taken, or told, again when the job resumes.
        with self._database.write(durable=False) as connection:
            cancel_requested = tuning_jobs.append_snapshot(connection, job_id, snapshot)
        self._metrics.steps.inc()
        self._metrics.trained_tokens.inc(tokens)
        return Verdict.GO_ON if cancel_requested is False else Verdict.STOP

    def finish(self, job_id: JobId, adapter_directory: Path) -> None:
        """Put the adapter into place, then say that the model can be called. May be repeated after a crash."""
        if self._running(job_id) is not None:
            self._artifacts.install_adapter(job_id, adapter_directory)
            self._end(job_id, conclusion.succeed, keeps_adapter=True)

    def stopped(self, job_id: JobId, adapter_directory: Path | None) -> None:
        """The trainer stopped between steps: the job ends as cancelled, or waits again if nobody had cancelled it."""
        job = self._running(job_id)
        if job is None:
            return
        if not job.cancel_requested:
            self.give_back(job_id, died=False, reason="stopped between steps")
            return
        if adapter_directory is not None:
            self._artifacts.install_adapter(job_id, adapter_directory)
        self._cancel(job_id, keeps_adapter=adapter_directory is not None)

    def fail(self, job_id: JobId, code: RpcCode, message: str) -> None:
        """The job cannot go on, and its owner is told why."""
        error = JobError(code=code, message=message)
        self._end(
            job_id,
            lambda connection, job, now: conclusion.fail(connection, job, now, error),
            keeps_adapter=False,
        )

    def give_back(self, job_id: JobId, *, died: bool, reason: str = "") -> None:
        """Let the job wait for another trainer, which resumes it from its last checkpoint.

        Args:
            job_id: the job.
            died: its trainer ended by itself. After some times without a further step the job fails, since it is
                likely what kills them (a batch that needs more memory than there is).
            reason: for the job's events.

        """
        job = self._running(job_id)
        if job is None:
            return
        if died and job.attempts >= MAX_ATTEMPTS:
            self.fail(job_id, RpcCode.INTERNAL, _blame(job))
        elif job.cancel_requested and not job.snapshots:
            self._cancel(job_id, keeps_adapter=False)
        else:
            self._requeue(job_id, died=died, reason=reason)

    def unwanted(self, job_ids: Collection[JobId]) -> set[JobId]:
        """Those of these jobs that were cancelled or deleted."""
        with self._database.read() as connection:
            return set(job_ids) - tuning_jobs.wanted_ids(connection, job_ids)

    def requeue_interrupted(self) -> list[JobId]:
        """Give back what was running when the server ended. Only at the start, before the first claim."""
        with self._database.read() as connection:
            interrupted = tuning_jobs.ids_in_state(connection, JobState.RUNNING)
        for job_id in interrupted:
            self.give_back(job_id, died=False, reason="the server was restarted")
        return interrupted

    def sweep(self) -> list[JobId]:
        """Remove the files of jobs that are gone. Only at the start, before requests are served."""
        with self._database.read() as connection:
            known = tuning_jobs.all_ids(connection)
        return self._artifacts.sweep(known)

    def _claim_oldest(self, connection: Transaction) -> tuple[TuningJob, BaseModel, bool] | None:
        """The job, its base, and whether it goes on from another model's adapter."""
        job = tuning_jobs.oldest_queued(connection, self._served)
        if job is None or not tuning_jobs.move(connection, job.id, JobState.RUNNING, self._clock()):
            return None
        model = tuned_models.find(connection, job.model_id)
        served = self._catalog.find(job.base_model)
        assert model is not None  # noqa: S101 - no job without its model
        assert served is not None  # noqa: S101 - as was asked for
        # Inside of the transaction, so that a full disk leaves the job waiting.
        self._artifacts.prepare_work(job.id)
        return job, served.base, model.source is not None

    def _requeue(self, job_id: JobId, *, died: bool, reason: str) -> None:
        with self._database.write() as connection:
            moved = tuning_jobs.move(connection, job_id, JobState.QUEUED, self._clock(), reason=reason)
            if moved and not died:
                tuning_jobs.forget_attempt(connection, job_id)
        if not moved:
            self._running(job_id)

    def _cancel(self, job_id: JobId, *, keeps_adapter: bool) -> None:
        self._end(
            job_id,
            lambda connection, job, now: conclusion.cancel(connection, job, now, keeps_adapter=keeps_adapter),
            keeps_adapter=keeps_adapter,
        )

    def _running(self, job_id: JobId) -> TuningJob | None:
        """The job, if it is running. Of one that was deleted, what is left goes."""
        with self._database.read() as connection:
            job = tuning_jobs.find(connection, job_id)
        if job is None:
            self._artifacts.delete(job_id)
        return job if job is not None and job.state is JobState.RUNNING else None

    def _end(
        self, job_id: JobId, conclude: Callable[[Transaction, TuningJob, datetime], bool], *, keeps_adapter: bool
    ) -> None:
        """End a running job in one transaction, and drop the files that nobody needs any more."""
        ended = None
        with self._database.write() as connection:
            tuning_jobs.hold(connection, job_id)
            job = tuning_jobs.find(connection, job_id)
            if job is not None and job.state is JobState.RUNNING and conclude(connection, job, self._clock()):
                ended = tuning_jobs.find(connection, job_id)
        if job is None:
            self._artifacts.delete(job_id)
        if ended is not None:
            self._artifacts.discard_work(job_id)
            if not keeps_adapter:
                # From a finish that a crash cut short; nobody was ever told of it.
                self._artifacts.discard_adapter(job_id)
            self._observe_end(ended)

    def _observe_end(self, job: TuningJob) -> None:
        assert job.start_time is not None  # noqa: S101 - the table says so of jobs that ran
        assert job.complete_time is not None  # noqa: S101 - and of jobs that ended
        seconds = (job.complete_time - job.start_time).total_seconds()
        self._metrics.run_seconds.labels(job.state.value).observe(seconds)
        logger.info("job %s %s", job.id, job.state.value, extra={"action": f"job_{job.state.value}", "job": job.id})


def _blame(job: TuningJob) -> str:
    return (
        f"The trainer ended unexpectedly {job.attempts} times in a row without completing a further step; the job had "
        f"completed {job.completed_steps} of {job.total_steps}. Likely it needs more memory than there is: try a "
        "smaller batch size or shorter examples."
    )
