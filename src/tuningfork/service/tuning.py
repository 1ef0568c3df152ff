"""What callers do with tuned models: create, look, list, change, cancel, delete."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tuningfork.domain.base_model import BaseModel, Catalog, PublicModel
from tuningfork.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    TuningforkError,
)
from tuningfork.domain.permission import Action, GranteeType, Permission, PermissionId, Principal, Role
from tuningfork.domain.tuned_model import Changeable, ModelChange, ModelState, TunedModelId, new_operation_id
from tuningfork.domain.tuning_job import JobId, JobState, TuningRequest
from tuningfork.service import conclusion, violations
from tuningfork.service.base_models import find_base
from tuningfork.service.drafting import ID_BITS, Origin, draft, find_origin, source_is_missing
from tuningfork.service.listing import Listing
from tuningfork.service.metrics import Metrics
from tuningfork.service.paging import Page, refusal, size_of
from tuningfork.service.quotas import Quotas
from tuningfork.service.tuned import Tuned, hold, load
from tuningfork.store import access, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.tuned_models import IdTaken

MAX_QUEUED_JOBS = 1_000
_ID_TRIES = 8
_DEFAULTS = {Changeable.TEMPERATURE, Changeable.TOP_P, Changeable.TOP_K}


class Tuning:
    """The use cases of tuned models.

    `entropy` gives as many random bits as it is asked for. `wake` tells the dispatcher that there is something to do;
    it is called after the change is durable.
    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        clock: Callable[[], datetime],
        entropy: Callable[[int], int],
        metrics: Metrics,
        *,
        wake: Callable[[], None] = lambda: None,
        max_queued_jobs: int = MAX_QUEUED_JOBS,
        quotas: Quotas | None = None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._wake = wake
        self._max_queued_jobs = max_queued_jobs
        self._quotas = quotas or Quotas()

    def create(self, principal: Principal, request: TuningRequest) -> Tuned:
        """Accept a tuning job; when this returns it is on the disk and will be done, whatever happens.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such base model or tuned model.
            PermissionDenied: the caller may not tune on that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE.
            AlreadyExists: the chosen id is taken.
            QuotaExceeded: the caller has too many jobs that are not done.
            ResourceExhausted: too many jobs wait, or the disk is full.

        """
        origin = self._origin(principal, request)
        for _ in range(_ID_TRIES):
            made = draft(principal, request, origin, now=self._clock(), entropy=self._entropy)
            try:
                self._keep(principal, made, request, origin)
            except IdTaken as taken:
                if request.tuned_model_id == taken.id:
                    raise AlreadyExists(f"Tuned model {made.model.name} already exists.") from taken
                continue
            self._metrics.created_jobs.inc()
            self._wake()
            return made
        raise InternalError(f"No free id was found in {_ID_TRIES} tries; nothing was created. Please try again.")

    def check(self, principal: Principal, request: TuningRequest) -> tuple[Tuned, BaseModel]:
        """What `create` would begin, and on which base; nothing is begun.

        What only shows when something is made, such as an id that is taken or a full queue, is not looked at.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such base model or tuned model.
            PermissionDenied: the caller may not tune on that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE.

        """
        origin = self._origin(principal, request)
        return draft(principal, request, origin, now=self._clock(), entropy=self._entropy), origin.base.base

    def get(self, principal: Principal, model_id: TunedModelId) -> Tuned:
        """A model and its job, with the snapshots so far.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            return load(connection, principal, model_id, Action.GET)

    def get_operation(self, principal: Principal, model_id: TunedModelId, job_id: JobId) -> Tuned:
        """A model and its job, asked for by the job.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller may not read it.

        """
        tuned = self.get(principal, model_id)
        _check_operation(tuned, job_id)
        return tuned

    def list(
        self,
        principal: Principal,
        *,
        page_size: int | None = None,
        page_token: str = "",
        filter: str = "",  # noqa: A002
    ) -> Page[Tuned]:
        """The models that the caller has a role on, by themselves, by a group or by their project, the oldest first.

        See `listing.Listing.of` for the arguments.
        Those that everyone may read are listed only on the filter `readers:everyone`.

        Raises:
            InvalidArgument: the size, the token or the filter is wrong.

        """
        listing = Listing.of(principal, page_size=page_size, page_token=page_token, filter=filter)
        with self._database.read() as connection:
            found = tuned_models.search(connection, listing.search)
            shown = found[: listing.page_size]
            jobs = tuning_jobs.of_models(connection, [model.id for model in shown])
        items = tuple(Tuned(model=model, job=jobs[model.id]) for model in shown)
        more = len(found) > len(shown)
        return Page(items, listing.next_page_token(shown[-1]) if more else "")

    def list_operations(
        self,
        principal: Principal,
        model_id: TunedModelId,
        *,
        done: bool | None = None,
        page_size: int | None = None,
        page_token: str = "",
    ) -> Page[Tuned]:
        """The operations below a model, of which there is one for as long as there is the model.

        Args:
            principal: who asks.
            model_id: the model.
            done: only operations that have ended, or only others; None for all.
            page_size: as everywhere; one operation fits on any page.
            page_token: must be "", since no list has a second page.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            InvalidArgument: the size or the token is wrong.

        """
        size_of(page_size, "ListOperationsRequest")
        if page_token:
            raise refusal("ListOperationsRequest", "page_token", "page_token is not one that this method returned")
        found = self.get(principal, model_id)
        return Page((found,) if done in (None, found.job.state.is_final) else (), "")

    def dismiss_operation(self, principal: Principal, model_id: TunedModelId, job_id: JobId) -> None:
        """Take note that nobody waits for an operation any more: it stays readable for as long as its model.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller does not own it.
            FailedPrecondition: the operation has not ended. To forget it would not stop the job, which whoever asks
                for it may believe.

        """
        with self._database.read() as connection:
            found = load(connection, principal, model_id, Action.DELETE)
        _check_operation(found, job_id)
        if not found.job.state.is_final:
            raise FailedPrecondition(
                f"Operation {found.model.name}/operations/{job_id} has not ended, and deleting it would not stop it. "
                f"Cancel it, or delete {found.model.name}."
            )

    def update(self, principal: Principal, model_id: TunedModelId, change: ModelChange) -> Tuned:
        """Change a model's names, its defaults or its readers; whoever asks it next meets the new defaults.

        Several changes at a time lose nothing: each writes its own fields only.

        Raises:
            InvalidArgument: everything that is wrong with the change.
            NotFound: there is no such model; or a default is to be its base's again, which is not served.
            PermissionDenied: the caller may not write it.

        """
        if found := violations.of_change(change):
            raise InvalidArgument.of("ModelChange", found)
        with self._database.write() as connection:
            tuned_models.hold(connection, model_id)
            tuned = load(connection, principal, model_id, Action.UPDATE)
            if not change.fields:
                return tuned
            values = {field.value: getattr(change, field.value) for field in change.fields}
            values |= self._defaults_again(tuned, change)
            model = replace(tuned.model, **values, update_time=self._clock())
            tuned_models.update(connection, model, change.fields)
        return Tuned(model=model, job=tuned.job)

    def cancel(self, principal: Principal, model_id: TunedModelId, job_id: JobId | None = None) -> None:
        """Stop the model's job: a waiting one at once, a running one between two steps, an ended one not at all.

        A job that has taken steps goes to a trainer in any case, which makes an adapter of what it has learned.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller may not write it.

        """
        with self._database.write() as connection:
            tuned = hold(connection, principal, model_id, Action.CANCEL)
            _check_operation(tuned, job_id)
            job = tuned.job
            untouched = job.state is JobState.QUEUED and not job.snapshots
            if not (untouched and conclusion.cancel(connection, job, self._clock(), keeps_adapter=False)):
                tuning_jobs.request_cancel(connection, job.id)
        self._wake()

    def delete(self, principal: Principal, model_id: TunedModelId) -> None:
        """Remove the model, its job and all its files; a running job is stopped first and leaves nothing.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller does not own it.

        """
        with self._database.write() as connection:
            job = hold(connection, principal, model_id, Action.DELETE).job
            tuned_models.delete(connection, model_id)
        self._wake()
        self._artifacts.delete(job.id, keep_work=job.state is JobState.RUNNING)

    def adapter_directory(self, principal: Principal, model_id: TunedModelId) -> Path:
        """Where the model's adapter is, in PEFT's format. Its content never changes.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            FailedPrecondition: it has no adapter, or none yet.

        """
        tuned = self.get(principal, model_id)
        if tuned.model.state is not ModelState.ACTIVE:
            raise FailedPrecondition(
                f"Tuned model {tuned.model.name} has no adapter: its state is {tuned.model.state.value}."
            )
        return self._artifacts.adapter_directory(tuned.job.id)

    def _defaults_again(self, tuned: Tuned, change: ModelChange) -> dict[str, float | int | None]:
        """What the base says of the defaults that a change clears."""
        cleared = [field.value for field in change.fields & _DEFAULTS if getattr(change, field.value) is None]
        if not cleared:
            return {}
        sampling = find_base(self._catalog, tuned.model.base_model, "updateTunedModel").base.sampling
        return {name: getattr(sampling, name) for name in cleared}

    def _origin(self, principal: Principal, request: TuningRequest) -> Origin:
        """Where the tuning starts, once nothing is wrong with the request."""
        try:
            with self._database.read() as connection:
                origin = find_origin(connection, principal, request, self._catalog)
        except TuningforkError:
            # What is wrong with the request itself is told first.
            _check(request, None)
            raise
        _check(request, origin.base)
        return origin

    def _keep(self, principal: Principal, made: Tuned, request: TuningRequest, origin: Origin) -> None:
        """Put the files aside, then everything else in one transaction; if that fails nothing remains."""
        owner = Permission(
            id=PermissionId(new_operation_id(self._entropy(ID_BITS))),
            model_id=made.model.id,
            grantee_type=GranteeType.USER,
            email=principal.email,
            role=Role.OWNER,
        )
        self._artifacts.write_dataset(made.job.id, request.examples)
        try:
            if origin.source:
                self._keep_source(made.job.id, origin.source)
            with self._database.write() as connection:
                self._check_queue(connection)
                self._quotas.check_jobs(
                    principal, lambda: tuning_jobs.count_unfinished(connection, principal.credential)
                )
                if origin.source:
                    _check_source(connection, origin.source)
                tuned_models.insert(connection, made.model)
                tuning_jobs.insert(connection, made.job)
                access.grant(connection, owner)
        except (IdTaken, NotFound, ResourceExhausted):
            # Only where nothing was committed for certain. After any other error the files stay for the sweep: a
            # file too many is harmless, a job without its examples is not.
            self._artifacts.delete(made.job.id)
            raise

    def _keep_source(self, job_id: JobId, source: Tuned) -> None:
        if not self._artifacts.keep_source(job_id, source.job.id):
            raise source_is_missing(source.model.name)

    def _check_queue(self, connection: Transaction) -> None:
        waiting = tuning_jobs.count_queued(connection)
        if waiting >= self._max_queued_jobs:
            raise ResourceExhausted(
                f"The tuning queue is full: {waiting} jobs are waiting, and {self._max_queued_jobs} is the most. "
                "Try again when some of them are done, or cancel those that are not needed."
            )


def _check(request: TuningRequest, base: PublicModel | None) -> None:
    if found := violations.of_tuning(request, base):
        raise InvalidArgument.of("TuningRequest", found)


def _check_source(connection: Transaction, source: Tuned) -> None:
    """Whoever is deleted loses its row before its files: while there is the row, what was kept of them is whole."""
    if tuning_jobs.find(connection, source.job.id) is None:
        raise source_is_missing(source.model.name)


def _check_operation(found: Tuned, job_id: JobId | None) -> None:
    if job_id is not None and found.job.id != job_id:
        raise NotFound(f"Operation {found.model.name}/operations/{job_id} does not exist.")
