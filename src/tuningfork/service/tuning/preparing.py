"""What happens to a job whose examples are in a bucket: it is claimed, read, and queued; or it fails, or waits again.

As in `running.py`, a job is held by one server until it is queued or given back. Every method may be called for a job
that was cancelled or deleted meanwhile, or that another server has taken over; then nothing is written, and what this
server has written for it before is removed.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.base_model import Catalog, PublicModel
from tuningfork.domain.errors import Code
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.preparation import Preparation
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.training_rows import RowReader
from tuningfork.domain.tuning_job import JobError, JobId, JobState, TuningJob
from tuningfork.domain.turns import LastTurns, Tenant, in_turn
from tuningfork.execution.preparation import LineSource, PreparationRequest, Prepared, PreparedDataset
from tuningfork.service.base_models import why_base_is_lacking
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning import conclusion, tidying
from tuningfork.service.tuning.claims import Claims
from tuningfork.service.tuning.file_patience import FilePatience
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS
from tuningfork.service.tuning.prepared_jobs import fault_of, prepared_job
from tuningfork.service.tuning.running import MAX_ATTEMPTS
from tuningfork.store import leases, preparing_jobs, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.dataset_writing import StagedDataset
from tuningfork.store.leases import Claim, ServerId
from tuningfork.store.preparing_jobs import WaitingJob

logger = logging.getLogger(__name__)

BASE_PATIENCE_SECONDS = 3600.0
"""How long a job waits for a base that no server has, or can use, before it fails."""
FILE_PATIENCE = FilePatience()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Obstacle:
    """Why this server does not prepare a waiting job, since when, and whether that is for lack of its base."""

    reason: str
    since: float
    lacks_base: bool


class Preparing:
    """The use cases of jobs whose examples are to be read.

    Args:
        database: the database.
        artifacts: where datasets are written.
        catalog: the base models of this server.
        clock: the time now.
        metrics: where ended jobs are counted.
        server: the id of this server.
        source_of: makes the file at an address readable elsewhere, as far as the caller may read it.
        read_row: reads a line of such a file; a function of a module.
        lease_seconds: how long a job is another server's that does not renew its lease.
        base_patience_seconds: how long a job waits for a base that no server has, or can use, before it fails.
        file_patience: how long a job waits for files that cannot be read at the moment.
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
        source_of: Callable[[str, Principal], LineSource],
        read_row: RowReader,
        lease_seconds: float = LEASE_SECONDS,
        base_patience_seconds: float = BASE_PATIENCE_SECONDS,
        file_patience: FilePatience = FILE_PATIENCE,
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
        self._base_patience_seconds = base_patience_seconds
        self._file_patience = file_patience
        self._claims = Claims(database, server, leases.preparing, lease_seconds=lease_seconds, monotonic=monotonic)
        self._last_turns = LastTurns()
        self._tenants: dict[JobId, Tenant] = {}
        """On whose behalf this server has claimed jobs, also those that it has let go since."""
        self._obstacles: dict[JobId, _Obstacle] = {}
        self._failures: dict[JobId, str] = {}
        """Why jobs that wait again were not prepared the last time."""
        self._written: set[JobId] = set()
        """The jobs of which this server may have written files, and which it has not been seen to end."""

    def claim(self, not_now: Collection[JobId] = ()) -> PreparationRequest | None:
        """Claim the job whose turn it is: by project, then by owner, then by age.

        An owner of whom this server prepares a job has no further turn meanwhile, so that files which take long to be
        read, or are never read to their end, hold up nobody else.

        Args:
            not_now: jobs that are not claimed yet.

        Returns:
            None: no job waits of another owner, whose base and source this server has.

        """
        with self._database.read() as connection:
            waiting = preparing_jobs.waiting(connection)
        able = self._without_obstacles(waiting)
        under_way = [self._tenants.get(job_id, Tenant()) for job_id in self._claims.job_ids()]
        busy = {tenant.owner for tenant in under_way}
        free = [(job.id, job.tenant) for job in able if job.id not in not_now and job.tenant.owner not in busy]
        for job_id, tenant in in_turn(free, under_way, self._last_turns):
            request = self._claim(job_id, tenant)
            if request is not None:
                self._last_turns.taken(tenant)
                return request
        return None

    def waits_for(self, job_id: JobId) -> str:
        """What keeps a waiting job from being prepared, for its owner, as "a file is not there"; "": nothing is known.

        May be called from any thread.
        """
        obstacle = self._obstacles.get(job_id)
        return self._failures.get(job_id, "") if obstacle is None else without_directories(obstacle.reason)

    def unwanted(self, job_ids: Collection[JobId]) -> set[JobId]:
        """Those of these jobs that were cancelled or deleted, or that another server has taken over."""
        with self._database.read() as connection:
            wanted = tuning_jobs.wanted_ids(connection, job_ids)
            return set(job_ids) - (wanted & self._claims.still_held(connection, job_ids))

    def finish(self, job_id: JobId, prepared: Prepared) -> None:
        """Move the dataset into place, then queue the job. May be repeated after a crash."""
        job = self._held(job_id)
        base = None if job is None else self._catalog.find(job.base_model, job.resolved_base)
        if job is None or base is None:
            self._let_go(job_id)
            return
        ready = prepared_job(job, prepared, base, quotes_examples=not self._artifacts.is_elsewhere(job_id))
        if fault := fault_of(ready.hyperparameters, ready.example_count):
            self.fail(job_id, Code.INVALID_ARGUMENT, fault)
            return
        self._artifacts.discard_data(job_id)
        validation = None if prepared.validation is None else self._staged(prepared.validation)
        self._artifacts.place_dataset(self._staged(prepared.training), job_id, validation)
        with self._database.write() as connection:
            queued = leases.hold(connection, self._claims.of(job_id)) and tuning_jobs.move(
                connection, job_id, JobState.QUEUED, self._clock(), reason="its examples were read"
            )
            if queued:
                preparing_jobs.note_prepared(connection, ready)
        if queued:
            logger.info("job %s was prepared", job_id, extra={"action": "job_prepared", "job": job_id})
        else:
            self._artifacts.discard_data(job_id)
        self._let_go(job_id)

    def fail(self, job_id: JobId, code: Code, message: str) -> None:
        """End a job that cannot be prepared, with an error for its owner."""
        with self._database.write() as connection:
            held = leases.hold(connection, self._claims.of(job_id))
            job = tuning_jobs.find(connection, job_id) if held else None
            if job is not None:
                conclusion.fail(connection, job, self._clock(), JobError(code=code, message=message))
        if job is not None:
            said = "job %s failed: its examples cannot be tuned on"
            logger.info(said, job_id, extra={"action": "job_failed", "job": job_id})
        self._let_go(job_id)

    def give_back(self, job_id: JobId, *, died: bool, reason: str, unread: TuningJob | None = None) -> None:
        """Let the job wait again. One whose preparer has died `MAX_ATTEMPTS` times fails.

        `unread`: the job with what is known of its files, which could not be read; None: that was not the reason.
        """
        job = self._held(job_id)
        if job is not None and died and job.attempts >= MAX_ATTEMPTS:
            self.fail(
                job_id, Code.INTERNAL, f"Reading its examples failed {job.attempts} times. The last time: {reason}"
            )
            return
        with self._database.write() as connection:
            held = leases.hold(connection, self._claims.of(job_id))
            if held:
                preparing_jobs.release(connection, job_id)
                if unread is not None:
                    preparing_jobs.note_unread(connection, unread)
                if not died:
                    tuning_jobs.forget_attempt(connection, job_id)
        if held:
            self._failures[job_id] = f"its examples could not be read: {reason}"
        self._let_go(job_id)

    def give_back_unread(self, job_id: JobId, *, reason: str) -> float | None:
        """Let a job wait again whose files cannot be read at the moment; returns the seconds until the next try.

        How long they have been away is written, and so counts after a restart, or on another server, too. None: the
        job does not wait any more, or it has waited for long enough and has failed.
        """
        job = self._held(job_id)
        if job is None or job.preparation is None:
            self._let_go(job_id)
            return None
        unread = self._file_patience.failed(job.preparation.unread, self._clock())
        pause = self._file_patience.pause_after(unread)
        if pause is None:
            minutes = round(self._file_patience.patience_seconds / 60)
            waited = f"Its files could not be read for {minutes} minutes. The last time: {reason}"
            self.fail(job_id, Code.UNAVAILABLE, waited)
            return None
        waiting = replace(job, preparation=replace(job.preparation, unread=unread))
        self.give_back(job_id, died=False, reason=reason, unread=waiting)
        return pause

    def tidy(self, besides: Collection[JobId] = ()) -> None:
        """Remove what this server has written for jobs that have ended or are another server's, besides these jobs.

        To be called often. An adapter that a job goes on from stays as long as the job.
        """
        written = self._written.difference(besides)
        if not written:
            return
        with self._database.read() as connection:
            jobs = {job_id: tuning_jobs.find(connection, job_id) for job_id in written}
            held_by = {lease.claim.job_id: lease.claim for lease in leases.preparing(connection)}
        for job_id, job in jobs.items():
            if job is None:
                tidying.remove_if_deleted(self._database, self._artifacts, job_id)
            elif job.is_prepared and self._artifacts.holds(job_id):
                # This server has prepared it. From then on its files are the trainer's.
                pass
            elif job.state.is_final and not job.is_prepared:
                self._artifacts.discard_draft(job_id)
            elif job.is_prepared or (job_id in held_by and held_by[job_id] != self._claims.of(job_id)):
                self._artifacts.discard_preparation(job_id)
            else:
                # It waits, and its files are written anew when it is prepared again.
                continue
            self._written.discard(job_id)
            self._failures.pop(job_id, None)

    def let_go(self, *, besides: Collection[JobId]) -> None:
        """Renew the leases of no other jobs than these any more; the others wait again when their leases have run out.

        What became of them could not be written, such as while the database was away.
        """
        for job_id in self._claims.job_ids().difference(besides):
            self._claims.let_go(self._claims.of(job_id))

    def requeue_interrupted(self) -> list[JobId]:
        """Let the jobs wait again that this server was preparing when it ended. Once, before the first claim."""
        self._written |= self._artifacts.job_ids("work")
        with self._database.read() as connection:
            found = [lease.claim for lease in leases.preparing(connection) if lease.claim.server == self._server]
        for claim in found:
            self._release(claim)
        return [claim.job_id for claim in found]

    def keep_leases(self) -> list[JobId]:
        """Renew the leases of this server's jobs, and let jobs of other servers wait again whose leases have run out.

        To be called often; does nothing unless a renewal is due. Returns the jobs that wait again.
        """
        renewal = self._claims.renew()
        if renewal.others_are_alive:
            # The base that a job lacks may be on that server, which has no place for the job yet.
            now = self._monotonic()
            self._obstacles = {job_id: replace(each, since=now) for job_id, each in self._obstacles.items()}
        for claim in renewal.run_out:
            self._release(claim)
        return [claim.job_id for claim in renewal.run_out]

    def end_hopeless(self) -> list[JobId]:
        """Fail the jobs that have waited too long for a base that no server has or can use; returns them."""
        since = self._monotonic() - self._base_patience_seconds
        hopeless = [job_id for job_id, each in self._obstacles.items() if each.lacks_base and each.since <= since]
        for job_id in hopeless:
            reason = self.waits_for(job_id)
            with self._database.write() as connection:
                claim = preparing_jobs.take(connection, job_id, self._server)
            if claim is not None:
                self._claims.add(claim)
                self._written.add(job_id)
                minutes = round(self._base_patience_seconds / 60)
                said = f"The job waited for {minutes} minutes, since {reason}. Create it again when that is mended."
                self.fail(job_id, Code.FAILED_PRECONDITION, said)
            self._obstacles.pop(job_id, None)
        return hopeless

    def _without_obstacles(self, waiting: Collection[WaitingJob]) -> list[WaitingJob]:
        """The jobs that this server can prepare; notes, and logs once, why it cannot prepare others."""
        found: dict[JobId, _Obstacle] = {}
        for job in waiting:
            obstacle = self._obstacle(job)
            if obstacle is None:
                continue
            before = self._obstacles.get(job.id)
            found[job.id] = obstacle if before is None else replace(obstacle, since=before.since)
            if before is None:
                labels = {"action": "base_missing" if obstacle.lacks_base else "data_elsewhere", "job": job.id}
                logger.warning("job %s waits, since %s", job.id, obstacle.reason, extra=labels)
        self._obstacles = found
        return [job for job in waiting if job.id not in found]

    def _obstacle(self, job: WaitingJob) -> _Obstacle | None:
        """Why this server cannot prepare the job; None: it can.

        A server that prepared a job without the adapter that the job goes on from would have the one, another server
        the other, and none could train it.
        """
        if reason := why_base_is_lacking(self._catalog, job.base_model, job.resolved_base):
            return _Obstacle(reason=reason, since=self._monotonic(), lacks_base=True)
        if job.has_source and not self._artifacts.store.has(self._artifacts.source(job.id)):
            reason = "the adapter that it goes on from is on another server"
            return _Obstacle(reason=reason, since=self._monotonic(), lacks_base=False)
        return None

    def _claim(self, job_id: JobId, tenant: Tenant) -> PreparationRequest | None:
        with self._database.write() as connection:
            claim = preparing_jobs.take(connection, job_id, self._server)
            if claim is None:
                return None
            job = tuning_jobs.find(connection, job_id)
            assert job is not None  # noqa: S101 - it was just taken
            assert job.preparation is not None  # noqa: S101 - every preparing job has one
            base = self._catalog.find(job.base_model, job.resolved_base)
            assert base is not None  # noqa: S101 - jobs without their base have an obstacle
            self._artifacts.settle(job_id, job.location)
            self._artifacts.prepare_work(job_id)
        self._tenants[job_id] = tenant
        self._claims.add(claim)
        self._written.add(job_id)
        self._failures.pop(job_id, None)
        logger.info("job %s: its examples are read", job_id, extra={"action": "job_preparing", "job": job_id})
        reader = job.preparation.reader or Principal(email=Email(tenant.owner))
        return self._request(job, job.preparation, base, reader)

    def _request(
        self, job: TuningJob, preparation: Preparation, base: PublicModel, reader: Principal
    ) -> PreparationRequest:
        validation = preparation.validation_uri
        return PreparationRequest(
            job_id=job.id,
            base=base.base,
            training=self._source_of(preparation.training_uri, reader),
            validation=None if validation is None else self._source_of(validation, reader),
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
            held = self._claims.still_held(connection, [job_id])
            return tuning_jobs.find(connection, job_id) if held else None

    def _let_go(self, job_id: JobId) -> None:
        """Forget the claim on a job, and remove what was written for it unless it waits or is this server's."""
        self._claims.let_go(self._claims.of(job_id))
        self._tenants.pop(job_id, None)
        if job_id in self._written:
            self.tidy(besides=self._written - {job_id})

    def _release(self, claim: Claim) -> None:
        with self._database.write() as connection:
            if leases.hold(connection, claim):
                preparing_jobs.release(connection, claim.job_id)
                tuning_jobs.forget_attempt(connection, claim.job_id)
