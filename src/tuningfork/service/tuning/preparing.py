"""What happens to a job whose examples are in a bucket: it is claimed, read, and queued; or it fails, or waits again.

As in `running.py`, a job is held by one server until it is queued or given back. Every method may be called for a job
that was cancelled or deleted meanwhile, or that another server has taken over; then nothing is written. The files of a
deleted job are removed.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from tuningfork.domain import hyperparameters
from tuningfork.domain.base_model import Catalog, PublicModel
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.errors import Code
from tuningfork.domain.hyperparameters import MAX_LEARNING_RATE, MAX_STEPS, Hyperparameters
from tuningfork.domain.preparation import Preparation
from tuningfork.domain.training_rows import RowReader
from tuningfork.domain.tuning_job import JobError, JobId, JobState, TuningJob
from tuningfork.execution.preparation import LineSource, PreparationRequest, Prepared, PreparedDataset
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning import conclusion, tidying
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS, RENEWALS_IN_A_LEASE, LeaseWatch
from tuningfork.service.tuning.running import MAX_ATTEMPTS
from tuningfork.store import leases, preparing_jobs, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.dataset_writing import StagedDataset
from tuningfork.store.leases import Claim, ServerId

logger = logging.getLogger(__name__)

MOST_CHECKPOINTS = 10
"""A job with more epochs keeps about so many checkpoints, evenly distributed."""


class Preparing:
    """The use cases of jobs whose examples are to be read.

    Args:
        database: the database.
        artifacts: where datasets are written.
        catalog: the base models of this server.
        clock: the time now.
        metrics: where ended jobs are counted.
        server: the id of this server.
        source_of: makes the file at an address readable elsewhere.
        read_row: reads a line of such a file; a function of a module.
        lease_seconds: how long a job is another server's that does not renew its lease.
        monotonic: a monotonic clock in seconds.

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
        source_of: Callable[[str], LineSource],
        read_row: RowReader,
        lease_seconds: float = LEASE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._metrics = metrics
        self._server = server
        self._source_of = source_of
        self._read_row = read_row
        self._monotonic = monotonic
        self._renew_every_seconds = lease_seconds / RENEWALS_IN_A_LEASE
        self._last_renewal = -lease_seconds
        self._watch = LeaseWatch(lease_seconds, monotonic)
        self._claims: dict[JobId, Claim] = {}
        # By owner, the number of its last turn.
        self._last_turns: dict[str, int] = {}
        # The jobs whose source this server lacks, as its log says.
        self._told: set[JobId] = set()

    def claim(self) -> PreparationRequest | None:
        """Claim the job whose turn it is: owner by owner, then by age. None: none waits whose base this server has."""
        with self._database.read() as connection:
            found = preparing_jobs.waiting(connection)
        for job_id, owner in sorted(found, key=lambda each: self._last_turns.get(each[1], 0)):
            request = self._claim(job_id)
            if request is not None:
                self._last_turns[owner] = max(self._last_turns.values(), default=0) + 1
                return request
        return None

    def unwanted(self, job_ids: Collection[JobId]) -> set[JobId]:
        """Those of these jobs that were cancelled or deleted, or that another server has taken over."""
        with self._database.read() as connection:
            held = {lease.claim for lease in leases.preparing(connection)}
            wanted = tuning_jobs.wanted_ids(connection, job_ids)
        return {job_id for job_id in job_ids if job_id not in wanted or self._claims.get(job_id) not in held}

    def finish(self, job_id: JobId, prepared: Prepared) -> None:
        """Move the dataset into place, then queue the job. May be repeated after a crash."""
        job = self._held(job_id)
        base = None if job is None else self._catalog.find(job.base_model, job.resolved_base)
        if job is None or base is None:
            self._claims.pop(job_id, None)
            self.tidy(job_id)
            return
        ready = _prepared(job, prepared, base)
        if fault := _fault_of(ready.hyperparameters, ready.example_count):
            self.fail(job_id, Code.INVALID_ARGUMENT, fault)
            return
        self._artifacts.discard_data(job_id)
        validation = None if prepared.validation is None else self._staged(prepared.validation)
        self._artifacts.place_dataset(self._staged(prepared.training), job_id, validation)
        with self._database.write() as connection:
            queued = leases.hold(connection, self._claim_of(job_id)) and tuning_jobs.move(
                connection, job_id, JobState.QUEUED, self._clock(), reason="its examples were read"
            )
            if queued:
                preparing_jobs.note_prepared(connection, ready)
        self._claims.pop(job_id, None)
        if queued:
            logger.info("job %s was prepared", job_id, extra={"action": "job_prepared", "job": job_id})
        else:
            self._artifacts.discard_data(job_id)
            self.tidy(job_id)

    def fail(self, job_id: JobId, code: Code, message: str) -> None:
        """End a job that cannot be prepared, with an error for its owner."""
        with self._database.write() as connection:
            held = leases.hold(connection, self._claim_of(job_id))
            job = tuning_jobs.find(connection, job_id) if held else None
            if job is not None:
                conclusion.fail(connection, job, self._clock(), JobError(code=code, message=message))
        self._claims.pop(job_id, None)
        if job is not None:
            said = "job %s failed: its examples cannot be tuned on"
            logger.info(said, job_id, extra={"action": "job_failed", "job": job_id})
        self.tidy(job_id)

    def give_back(self, job_id: JobId, *, died: bool, reason: str) -> None:
        """Let the job wait again. One whose preparer has died `MAX_ATTEMPTS` times fails."""
        job = self._held(job_id)
        if job is not None and died and job.attempts >= MAX_ATTEMPTS:
            self.fail(
                job_id, Code.INTERNAL, f"Reading its examples failed {job.attempts} times. The last time: {reason}"
            )
            return
        with self._database.write() as connection:
            if leases.hold(connection, self._claim_of(job_id)):
                preparing_jobs.release(connection, job_id)
                if not died:
                    tuning_jobs.forget_attempt(connection, job_id)
        self._claims.pop(job_id, None)
        self.tidy(job_id)

    def tidy(self, job_id: JobId) -> None:
        """Remove what was written for a job that has ended or was deleted."""
        with self._database.read() as connection:
            job = tuning_jobs.find(connection, job_id)
        if job is None:
            tidying.remove_if_deleted(self._database, self._artifacts, job_id)
        elif job.state.is_final:
            self._artifacts.discard_draft(job_id)

    def let_go(self, *, besides: Collection[JobId]) -> None:
        """Renew the leases of no other jobs than these any more; the others wait again when their leases have run out.

        What became of them could not be written, such as while the database was away.
        """
        for job_id in self._claims.keys() - set(besides):
            self._claims.pop(job_id, None)

    def requeue_interrupted(self) -> list[JobId]:
        """Let the jobs wait again that this server was preparing when it ended. Once, before the first claim."""
        with self._database.read() as connection:
            found = [lease.claim for lease in leases.preparing(connection) if lease.claim.server == self._server]
        for claim in found:
            self._release(claim)
        return [claim.job_id for claim in found]

    def keep_leases(self) -> list[JobId]:
        """Renew the leases of this server's jobs, and let jobs of other servers wait again whose leases have run out.

        To be called often; does nothing unless a renewal is due. Returns the jobs that wait again.
        """
        now = self._monotonic()
        if now - self._last_renewal < self._renew_every_seconds:
            return []
        self._last_renewal = now
        with self._database.read() as connection:
            found = leases.preparing(connection)
        own = set(self._claims.values())
        if held := [lease.claim for lease in found if lease.claim in own]:
            with self._database.write(durable=False) as connection:
                leases.renew(connection, held)
        abandoned = self._watch.run_out(lease for lease in found if lease.claim not in own)
        for lease in abandoned:
            self._release(lease.claim)
        return [lease.claim.job_id for lease in abandoned]

    def _claim(self, job_id: JobId) -> PreparationRequest | None:
        with self._database.write() as connection:
            job = tuning_jobs.find(connection, job_id)
            base = None if job is None else self._catalog.find(job.base_model, job.resolved_base)
            if job is None or job.preparation is None or base is None or base.base.fault:
                return None
            if not self._has_source(connection, job):
                return None
            claim = preparing_jobs.take(connection, job_id, self._server)
            if claim is None:
                return None
            self._artifacts.prepare_work(job_id)
        self._claims[job_id] = claim
        logger.info("job %s: its examples are read", job_id, extra={"action": "job_preparing", "job": job_id})
        return self._request(job, job.preparation, base)

    def _has_source(self, connection: Transaction, job: TuningJob) -> bool:
        """Whether this server has the adapter that the job goes on from, if any; the job's dataset belongs beside it.

        A server that prepared a job without it would have the one, another server the other, and none could train it.
        """
        model = tuned_models.find(connection, job.model_id)
        if model is None or model.source is None or self._artifacts.store.has(self._artifacts.source(job.id)):
            return True
        if job.id not in self._told:
            self._told.add(job.id)
            said = "job %s waits for a server that has the adapter that it goes on from; this one lacks it"
            logger.warning(said, job.id, extra={"action": "data_elsewhere", "job": job.id})
        return False

    def _request(self, job: TuningJob, preparation: Preparation, base: PublicModel) -> PreparationRequest:
        validation = preparation.validation_uri
        return PreparationRequest(
            job_id=job.id,
            base=base.base,
            training=self._source_of(preparation.training_uri),
            validation=None if validation is None else self._source_of(validation),
            read_row=self._read_row,
            work=self._artifacts.work(job.id),
            max_example_tokens=base.limits.max_example_tokens,
            max_validation_examples=base.limits.max_validation_examples,
        )

    def _staged(self, dataset: PreparedDataset) -> StagedDataset:
        return StagedDataset(
            path=self._artifacts.store.path(dataset.file),
            count=dataset.count,
            digest=dataset.digest,
            statistics=dataset.statistics,
        )

    def _held(self, job_id: JobId) -> TuningJob | None:
        """The job, if this server holds it."""
        with self._database.read() as connection:
            held = self._claims.get(job_id) in {lease.claim for lease in leases.preparing(connection)}
            return tuning_jobs.find(connection, job_id) if held else None

    def _claim_of(self, job_id: JobId) -> Claim:
        """This server's claim on the job. If it has none, a claim that is not valid, with which nothing is written."""
        return self._claims.get(job_id) or Claim(job_id=job_id, server=self._server, number=0)

    def _release(self, claim: Claim) -> None:
        with self._database.write() as connection:
            if leases.hold(connection, claim):
                preparing_jobs.release(connection, claim.job_id)
                tuning_jobs.forget_attempt(connection, claim.job_id)


def _prepared(job: TuningJob, prepared: Prepared, base: PublicModel) -> TuningJob:
    """The job with what is known of it now that its examples were read."""
    preparation = job.preparation or Preparation(training_uri="")
    count = prepared.training.count
    used = hyperparameters.resolve(preparation.hyperparameters, count, base.base.default_learning_rate)
    validated = 0 if prepared.validation is None else prepared.validation.count
    every = _steps_between(used, count)
    schedule = CheckpointSchedule()
    if preparation.keeps_checkpoints:
        few = used.epoch_count <= MOST_CHECKPOINTS
        schedule = CheckpointSchedule(epochs_every=1) if few else CheckpointSchedule(steps_every=every)
    return replace(
        job,
        is_prepared=True,
        hyperparameters=used,
        example_count=count,
        validation_count=validated,
        checkpoints=schedule,
        evaluate_every=every if validated else 0,
        teaches_next_turn=prepared.teaches_next_turn or job.teaches_next_turn,
        seed=_seed(job, used, prepared, base),
        data_statistics=prepared.statistics,
    )


def _steps_between(used: Hyperparameters, count: int) -> int:
    """The steps of an epoch; of a job with many epochs, those between two of about ten equal parts."""
    return max(1, math.ceil(used.total_steps(count) / min(used.epoch_count, MOST_CHECKPOINTS)))


def _seed(job: TuningJob, used: Hyperparameters, prepared: Prepared, base: PublicModel) -> int:
    """The seed of a job, 32 bits. Two equal requests on equal files have the same seed, and so get the same adapter."""
    facts = (base.base.name, used, used.objective, job.adapter, prepared.training.digest)
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:4], "big")


def _fault_of(used: Hyperparameters, count: int) -> str | None:
    """What is wrong with the hyperparameters for so many examples; None: nothing."""
    steps = used.total_steps(count)
    if steps > MAX_STEPS:
        return (
            f"{count} examples, {used.epoch_count} epochs and batches of {used.batch_size} make {steps} steps; at most "
            f"{MAX_STEPS} are allowed, so lower epochCount."
        )
    if used.learning_rate > MAX_LEARNING_RATE:
        return (
            f"learningRateMultiplier leads to a learning rate of {used.learning_rate:g}; at most {MAX_LEARNING_RATE:g} "
            "is allowed."
        )
    return None
