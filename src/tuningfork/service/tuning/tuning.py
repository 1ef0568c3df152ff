"""The use cases of tuned models: create, get, list, update, cancel, delete."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.base_model import BaseModel, Catalog, PublicModel
from tuningfork.domain.conversation import Example
from tuningfork.domain.errors import InternalError, InvalidArgument, TuningforkError
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import (
    JobRef,
    JobUnfinished,
    ModelNotUsable,
    Purpose,
    ResourceNotFound,
    ResourceTaken,
)
from tuningfork.domain.tuned_model import Changeable, ModelChange, ModelState, TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState, TuningRequest
from tuningfork.service.base_models import base_of, check_described, found_base
from tuningfork.service.metrics import Metrics
from tuningfork.service.paging import Page, made_up, size_of
from tuningfork.service.quotas import Quotas
from tuningfork.service.tuning import conclusion, violations
from tuningfork.service.tuning.base_weights import check_base
from tuningfork.service.tuning.checkpointing import adapter_of
from tuningfork.service.tuning.drafting import Origin, TrainingData, draft, find_origin
from tuningfork.service.tuning.intake import Arriving, Intake, StagedData
from tuningfork.service.tuning.job_queue import MAX_QUEUED_JOBS, JobQueue
from tuningfork.service.tuning.listing import Listing
from tuningfork.service.tuning.tuned import Tuned, hold, load, with_jobs, with_snapshots
from tuningfork.service.tuning.weights import check_weights
from tuningfork.store import deleted_jobs, leases, registry, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.disk_reserve import DiskReserve, no_reserve
from tuningfork.store.tuned_models import IdTaken

_ID_TRIES = 8
_DEFAULTS = {Changeable.TEMPERATURE, Changeable.TOP_P, Changeable.TOP_K}


class Tuning:
    """The use cases of tuned models.

    `entropy` returns an integer of that many random bits. `wake` is called after each durable change that the
    dispatcher must see.
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
        reserve: DiskReserve | None = None,
        check_base: Callable[[PublicModel], None] = check_described,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._wake = wake
        self._check_base = check_base
        self._reserve = reserve or no_reserve()
        self._queue = JobQueue(database, artifacts, quotas or Quotas(), entropy, max_jobs=max_queued_jobs)

    def create(
        self,
        principal: Principal,
        request: TuningRequest,
        examples: Iterable[Example] | None = None,
        validation: Iterable[Example] | None = None,
    ) -> Tuned:
        """Accept a tuning job. On return it has reached the disk, so it will be run even after a crash.

        Args:
            principal: the caller.
            request: the request.
            examples: the training examples, read one at a time and written as they arrive, so that they may be larger
                than memory; None: they are in the request.
            validation: the examples of the validation set, likewise; they are read after the training examples. None:
                they are in the request, or there is no validation set.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such base model or tuned model.
            PermissionDenied: the caller may not tune on that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE, or the base cannot be used (`check_base`).
            AlreadyExists: the chosen id is taken.
            QuotaExceeded: the caller has too many jobs that are not done.
            ResourceExhausted: too many jobs wait, or the disk is full.

        """
        arriving = Arriving.of(request, examples, validation)
        origin = self._origin(principal, request, arriving)
        intake = Intake(request, origin, arriving)
        with intake.staged(self._artifacts) as staged:
            return self._accept(principal, request, origin, intake.finish(), staged)

    def check(
        self,
        principal: Principal,
        request: TuningRequest,
        examples: Iterable[Example] | None = None,
        validation: Iterable[Example] | None = None,
    ) -> tuple[Tuned, BaseModel, AnswerKind | None]:
        """The model and job that `create` would make, their base, and the kind of answers. Nothing is written.

        Faults that depend on other jobs, such as a taken id or a full queue, are not checked.

        Args:
            principal: the caller.
            request: the request.
            examples: as in `create`.
            validation: as in `create`.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such base model or tuned model.
            PermissionDenied: the caller may not tune on that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE.

        """
        arriving = Arriving.of(request, examples, validation)
        origin = self._origin(principal, request, arriving)
        intake = Intake(request, origin, arriving)
        intake.read()
        data = intake.finish()
        made = draft(principal, request, origin, data, now=self._clock(), entropy=self._entropy)
        return made, origin.base.base, data.answers

    def _accept(
        self,
        principal: Principal,
        request: TuningRequest,
        origin: Origin,
        data: TrainingData,
        staged: StagedData,
    ) -> Tuned:
        """Find ids that are not taken, and add the job to the queue under them."""
        for _ in range(_ID_TRIES):
            made = draft(principal, request, origin, data, now=self._clock(), entropy=self._entropy)
            try:
                self._queue.join(principal, made, staged, origin)
            except IdTaken as taken:
                if request.tuned_model_id == taken.id:
                    raise ResourceTaken(TunedRef(made.model.id)) from taken
                continue
            self._metrics.created_jobs.inc()
            self._wake()
            return made
        raise InternalError(f"No free id was found in {_ID_TRIES} tries; nothing was created. Please try again.")

    def get(self, principal: Principal, model_id: TunedModelId, *, snapshots: bool = True) -> Tuned:
        """A model and its job, with the snapshots so far unless they are not wanted.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            FailedPrecondition: its weights are missing or damaged, or its base has other weights now.

        """
        tuned = self._found(principal, model_id, snapshots=snapshots)
        # Where not even the examples are here, another server on this database has the model's files.
        if tuned.model.state is ModelState.ACTIVE and self._artifacts.holds(tuned.job.id):
            with self._database.read() as connection:
                adapter = adapter_of(connection, self._artifacts, model_id)
            check_weights(self._database, self._artifacts, principal, model_id, adapter)
            check_base(found_base(self._catalog, tuned.model), self._artifacts, tuned, adapter)
        return tuned

    def get_operation(
        self, principal: Principal, model_id: TunedModelId, job_id: JobId, *, snapshots: bool = True
    ) -> Tuned:
        """A model and its job, found by the ids of both, with the snapshots so far unless they are not wanted.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller may not read it.

        """
        tuned = self._found(principal, model_id, snapshots=snapshots)
        _check_operation(tuned, job_id)
        return tuned

    def list(
        self,
        principal: Principal,
        *,
        page_size: int | None = None,
        page_token: str = "",
        filter: str = "",  # noqa: A002
        snapshots: bool = True,
    ) -> Page[Tuned]:
        """The models on which the caller, one of their groups or their project has a role, the oldest first.

        See `listing.Listing.of` for the arguments. Models that everyone may read are listed only with the filter
        `readers:everyone`. Without `snapshots`, those of the jobs are not read.

        Raises:
            InvalidArgument: the size, the token or the filter is wrong.

        """
        listing = Listing.of(principal, page_size=page_size, page_token=page_token, filter=filter)
        with self._database.read() as connection:
            found = tuned_models.search(connection, listing.search)
            shown = found[: listing.page_size]
            items = with_jobs(connection, shown, snapshots=snapshots)
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
        snapshots: bool = True,
    ) -> Page[Tuned]:
        """The operations of a model: exactly one, which exists as long as the model.

        Args:
            principal: the caller.
            model_id: the model.
            done: only operations that have ended, or only others; None for all.
            page_size: as everywhere; one operation fits on any page.
            page_token: must be "", since no list has a second page.
            snapshots: whether the job's snapshots are wanted.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            InvalidArgument: the size or the token is wrong.

        """
        size_of(page_size)
        if page_token:
            raise made_up()
        found = self._found(principal, model_id, snapshots=snapshots)
        return Page((found,) if done in (None, found.job.state.is_final) else (), "")

    def dismiss_operation(self, principal: Principal, model_id: TunedModelId, job_id: JobId) -> None:
        """Accept that a caller needs an ended operation no more. It stays readable as long as its model.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller does not own it.
            FailedPrecondition: the operation has not ended, and this would not stop the job, as the caller may believe.

        """
        with self._database.read() as connection:
            found = load(connection, principal, model_id, Action.DELETE)
        _check_operation(found, job_id)
        if not found.job.state.is_final:
            raise JobUnfinished(JobRef(model_id, job_id))

    def update(self, principal: Principal, model_id: TunedModelId, change: ModelChange) -> Tuned:
        """Change a model's names, its defaults or its readers. The next request uses the new defaults.

        Concurrent changes do not overwrite each other: each writes only its own fields.

        Raises:
            InvalidArgument: everything that is wrong with the change.
            NotFound: there is no such model; or a default is reset to the base's, and the base is not served.
            PermissionDenied: the caller may not write it.

        """
        if found := violations.of_change(change):
            raise InvalidArgument(violations=found)
        with self._database.write() as connection:
            tuned_models.hold(connection, model_id)
            tuned = with_snapshots(connection, load(connection, principal, model_id, Action.UPDATE))
            if not change.fields:
                return tuned
            values = {field.value: getattr(change, field.value) for field in change.fields}
            values |= self._defaults_again(tuned, change)
            model = replace(tuned.model, **values, update_time=self._clock())
            tuned_models.update(connection, model, change.fields)
        return Tuned(model=model, job=tuned.job)

    def cancel(self, principal: Principal, model_id: TunedModelId, job_id: JobId | None = None) -> None:
        """Cancel the model's job: a waiting one at once, a running one between two steps. An ended job is not changed.

        A waiting job that has taken steps before is given to a trainer, which writes its adapter.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller may not write it.

        """

        def write(connection: Transaction) -> JobId | None:
            tuned = hold(connection, principal, model_id, Action.CANCEL)
            _check_operation(tuned, job_id)
            job = tuned.job
            untouched = job.state in (JobState.PREPARING, JobState.QUEUED) and not job.completed_steps
            if untouched and conclusion.cancel(connection, job, self._clock(), keeps_adapter=False):
                return job.id
            tuning_jobs.request_cancel(connection, job.id)
            return None

        ended = self._reserve.write(self._database, write)
        if ended is not None:
            self._artifacts.discard_unfinished(ended)
        self._wake()

    def delete(self, principal: Principal, model_id: TunedModelId) -> None:
        """Delete the model, its job and all its files. A running job is stopped and leaves no files.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller does not own it.

        """

        def write(connection: Transaction) -> tuple[JobId, bool]:
            tuned = hold(connection, principal, model_id, Action.DELETE)
            prepared_now = {lease.claim.job_id for lease in leases.preparing(connection)}
            registry.pass_on_default(connection, tuned.model)
            tuned_models.delete(connection, model_id)
            deleted_jobs.note(connection, tuned.job.id, self._clock())
            return tuned.job.id, tuned.job.state is JobState.RUNNING or tuned.job.id in prepared_now

        job_id, is_written = self._reserve.write(self._database, write)
        self._wake()
        self._artifacts.delete(job_id, keep_work=is_written)

    def adapter_directory(self, principal: Principal, model_id: TunedModelId) -> Path:
        """The directory of the adapter of the model's default checkpoint, in PEFT's format. Its content never changes.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            FailedPrecondition: it has no adapter, or none yet; or its adapter is missing or damaged.

        """
        with self._database.read() as connection:
            tuned = load(connection, principal, model_id, Action.GET)
            adapter = adapter_of(connection, self._artifacts, model_id)
        if tuned.model.state is not ModelState.ACTIVE:
            raise ModelNotUsable(TunedRef(model_id), tuned.model.state, Purpose.EXPORT)
        check_weights(self._database, self._artifacts, principal, model_id, adapter)
        return self._artifacts.store.path(adapter)

    def _found(self, principal: Principal, model_id: TunedModelId, *, snapshots: bool) -> Tuned:
        with self._database.read() as connection:
            tuned = load(connection, principal, model_id, Action.GET)
            return with_snapshots(connection, tuned) if snapshots else tuned

    def _defaults_again(self, tuned: Tuned, change: ModelChange) -> dict[str, float | int | None]:
        """The base's values for the defaults that a change clears."""
        cleared = [field.value for field in change.fields & _DEFAULTS if getattr(change, field.value) is None]
        if not cleared:
            return {}
        sampling = base_of(self._catalog, tuned.model).base.sampling
        return {name: getattr(sampling, name) for name in cleared}

    def _origin(self, principal: Principal, request: TuningRequest, arriving: Arriving) -> Origin:
        """Where the tuning starts, once nothing is wrong with the request, apart from examples that are streamed."""

        def refuse(base: PublicModel | None) -> None:
            if arriving.is_streamed:
                has_validation = arriving.validation is not None
                found = violations.before_streaming(request, base, has_validation=has_validation)
            else:
                found = violations.of_tuning(request, base)
            if found:
                raise InvalidArgument(violations=found)

        try:
            with self._database.read() as connection:
                origin = find_origin(connection, principal, request, self._catalog, self._artifacts)
        except TuningforkError:
            # What is wrong with the request itself is told first.
            refuse(None)
            raise
        refuse(origin.base)
        self._check_base(origin.base)
        return origin


def _check_operation(found: Tuned, job_id: JobId | None) -> None:
    if job_id is not None and found.job.id != job_id:
        raise ResourceNotFound(JobRef(found.model.id, job_id))
