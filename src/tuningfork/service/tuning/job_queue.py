"""Adds a new job to the queue: stores its files first, then writes all rows in one transaction."""

from collections.abc import Callable
from dataclasses import replace

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import Busy, ResourceExhausted
from tuningfork.domain.permission import Permission, Principal
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import ResourceNotFound
from tuningfork.service.quotas import Quotas
from tuningfork.service.tuning.drafting import Origin, ownership
from tuningfork.service.tuning.intake import StagedData
from tuningfork.service.tuning.project_quota import UNLIMITED_PROJECTS, ProjectQuota
from tuningfork.service.tuning.tuned import Tuned
from tuningfork.store import access, probe_prompts, registry, staged_datasets, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.tuned_models import IdTaken

MAX_QUEUED_JOBS = 1_000
"""The most jobs that may wait at a time."""

_OWNERS_WITH_A_SHARE = 20
"""In a full queue, an owner may still have one part in so many of its places."""


class JobQueue:
    """Adds new jobs to the queue, if it is not full.

    `max_jobs` is the most jobs that may wait. `entropy` returns an integer of that many random bits. `project_quota` is
    how many jobs a project may have at a time.
    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        quotas: Quotas,
        entropy: Callable[[int], int],
        *,
        max_jobs: int = MAX_QUEUED_JOBS,
        project_quota: ProjectQuota = UNLIMITED_PROJECTS,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._quotas = quotas
        self._entropy = entropy
        self._max_jobs = max_jobs
        self._project_quota = project_quota

    def join(self, principal: Principal, made: Tuned, data: StagedData, origin: Origin) -> None:
        """Store the job's files, then write its rows in one transaction; if that fails, the files are removed.

        Raises:
            IdTaken: another model or job has the id; the data can be given to a job with another id.
        RequestMade: another request of this id has created a model.
            NotFound: the tuned model that the job starts from was deleted meanwhile.
            FailedPrecondition: that model's adapter must not leave the storage root of its location.
            QuotaExceeded: the caller has too many jobs that have not ended.
            ResourceExhausted: too many jobs wait, or the disk is full.
            Busy: others were writing to the database for too long.

        """
        owner = ownership(principal, made.model.id, self._entropy)
        self._artifacts.place_dataset(data.examples, made.job.id, data.validation)
        committing = False
        try:
            if origin.source and origin.weights:
                self._keep_source(made, origin.source, origin.weights)
            with self._database.write() as connection:
                self._check_room(connection, principal.email)
                self._quotas.check_jobs(
                    principal, lambda: tuning_jobs.count_unfinished(connection, principal.credential)
                )
                if origin.source:
                    _check_source(connection, origin.source)
                _insert(connection, made, owner)
                committing = True
        except Exception as error:
            # The files are removed only if certainly nothing was committed. After any other error of the commit they
            # stay for `sweep`: unneeded files are harmless, a job without its examples is not.
            if committing and not isinstance(error, (Busy, ResourceExhausted)):
                raise
            if isinstance(error, IdTaken):
                self._artifacts.take_back_dataset(data.examples, made.job.id, data.validation)
            self._artifacts.discard_draft(made.job.id)
            raise

    def join_unprepared(self, principal: Principal, made: Tuned, origin: Origin) -> Tuned:
        """Write the rows of a job whose examples are read later, in one transaction; see `join`.

        Returns:
            The model, with its version, and the job.

        Raises:
            QuotaExceeded: also if the project has as many jobs as it may have, where further ones are refused.

        """
        owner = ownership(principal, made.model.id, self._entropy)
        committing = False
        try:
            self._artifacts.settle(made.job.id, made.job.location)
            if origin.source and origin.weights:
                self._keep_source(made, origin.source, origin.weights)
            with self._database.write() as connection:
                self._check_room(connection, principal.email)
                self._quotas.check_jobs(
                    principal, lambda: tuning_jobs.count_unfinished(connection, principal.credential)
                )
                self._project_quota.check(connection, made.model.project)
                if origin.source:
                    _check_source(connection, origin.source)
                kept = replace(made, model=registry.as_next_version(connection, made.model))
                _insert(connection, kept, owner)
                committing = True
        except Exception as error:
            # As in `join`.
            if not committing or isinstance(error, (Busy, ResourceExhausted)):
                self._artifacts.discard_draft(made.job.id)
            raise
        return kept

    def project_is_full(self, connection: Transaction, project: str) -> bool:
        """Whether a project has as many jobs in training as it may have."""
        return self._project_quota.is_full(connection, project)

    def _keep_source(self, made: Tuned, source: Tuned, weights: ArtifactRef) -> None:
        if not self._artifacts.keep_source(made.job.id, weights):
            raise ResourceNotFound(TunedRef(source.model.id))

    def _check_room(self, connection: Transaction, owner: str) -> None:
        """Refuse a job where all places are taken, unless its owner has fewer than its share of them.

        So whoever has filled the queue keeps no other owner out. Beyond twice the places nobody is let in.
        """
        waiting = tuning_jobs.count_queued(connection)
        if waiting < self._max_jobs:
            return
        share = max(1, self._max_jobs // _OWNERS_WITH_A_SHARE)
        own = tuning_jobs.count_queued(connection, owner)
        if own < share and waiting < 2 * self._max_jobs:
            return
        raise ResourceExhausted(
            f"The tuning queue is full: {waiting} jobs are waiting, and {self._max_jobs} is the most; {own} of them "
            f"are yours. Try again when fewer than {share} of yours wait, or cancel those that are not needed."
        )


def _insert(connection: Transaction, made: Tuned, owner: Permission) -> None:
    tuned_models.insert(connection, made.model)
    tuning_jobs.insert(connection, made.job)
    access.grant(connection, owner)
    if made.probe_prompts:
        probe_prompts.insert(connection, made.job.id, made.probe_prompts)
    if made.request_id and owner.email is not None:
        staged_datasets.note_created(connection, owner.email, made.request_id, made.model.id)


def _check_source(connection: Transaction, source: Tuned) -> None:
    """Check that the source's row still exists after its adapter was copied.

    Deleting a model removes its row before its files. So if the row exists, the copy is complete.
    """
    if tuning_jobs.find(connection, source.job.id) is None:
        raise ResourceNotFound(TunedRef(source.model.id))
