"""What callers do with tuned models: create, look, list, cancel, delete."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuningfork.domain import hyperparameters
from tuningfork.domain.base_model import Catalog, PublicModel
from tuningfork.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from tuningfork.domain.permission import Action, GranteeType, Permission, PermissionId, Principal, Role
from tuningfork.domain.tuned_model import ModelState, TunedModel, TunedModelId, new_id, new_operation_id
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob, TuningRequest, seed_of
from tuningfork.service import conclusion, violations
from tuningfork.service.access import model_for
from tuningfork.service.base_models import find_base
from tuningfork.service.listing import Listing
from tuningfork.service.metrics import Metrics
from tuningfork.service.paging import Page
from tuningfork.store import access, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.tuned_models import IdTaken

MAX_QUEUED_JOBS = 1_000
_ID_BITS = 62
_ID_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A tuned model and the job that makes it."""

    model: TunedModel
    job: TuningJob


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
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._wake = wake
        self._max_queued_jobs = max_queued_jobs

    def create(self, principal: Principal, request: TuningRequest) -> Tuned:
        """Accept a tuning job; when this returns it is on the disk and will be done, whatever happens.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such base model.
            AlreadyExists: the chosen id is taken.
            ResourceExhausted: too many jobs wait.

        """
        if found := violations.of_tuning(request, self._catalog.find(request.base_model)):
            raise InvalidArgument.of("TuningRequest", found)
        base = find_base(self._catalog, request.base_model, "createTunedModel")
        for _ in range(_ID_TRIES):
            tuned = self._draft(request, base)
            try:
                self._keep(principal, tuned, request)
            except IdTaken as taken:
                if request.tuned_model_id == taken.id:
                    raise AlreadyExists(f"Tuned model {tuned.model.name} already exists.") from taken
                continue
            self._metrics.created_jobs.inc()
            self._wake()
            return tuned
        raise InternalError(f"No free id was found in {_ID_TRIES} tries; nothing was created. Please try again.")

    def get(self, principal: Principal, model_id: TunedModelId) -> Tuned:
        """A model and its job, with the snapshots so far.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            return _load(connection, principal, model_id, Action.GET)

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

    def cancel(self, principal: Principal, model_id: TunedModelId, job_id: JobId | None = None) -> None:
        """Stop the model's job: a waiting one at once, a running one between two steps, an ended one not at all.

        A job that has taken steps goes to a trainer in any case, which makes an adapter of what it has learned.

        Raises:
            NotFound: there is no such model, or it was made by another job.
            PermissionDenied: the caller may not write it.

        """
        with self._database.write() as connection:
            tuned = _hold(connection, principal, model_id, Action.CANCEL)
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
            job = _hold(connection, principal, model_id, Action.DELETE).job
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

    def _draft(self, request: TuningRequest, base: PublicModel) -> Tuned:
        """The model and the job as they begin, under a new id each."""
        now = self._clock()
        chosen = request.tuned_model_id
        defaults = base.base.sampling
        model = TunedModel(
            id=TunedModelId(chosen) if chosen is not None else new_id(request.display_name, self._entropy(_ID_BITS)),
            base_model=base.name,
            display_name=request.display_name,
            description=request.description,
            state=ModelState.CREATING,
            create_time=now,
            update_time=now,
            temperature=defaults.temperature if request.temperature is None else request.temperature,
            top_p=defaults.top_p if request.top_p is None else request.top_p,
            top_k=defaults.top_k if request.top_k is None else request.top_k,
            reader_project_numbers=request.reader_project_numbers,
        )
        count = len(request.examples)
        used = hyperparameters.resolve(request.hyperparameters, count, base.base.default_learning_rate)
        job = TuningJob(
            id=JobId(new_operation_id(self._entropy(_ID_BITS))),
            model_id=model.id,
            base_model=base.name,
            state=JobState.QUEUED,
            hyperparameters=used,
            adapter=base.base.adapter,
            example_count=count,
            seed=seed_of(request.examples, used, base.base.name),
            create_time=now,
        )
        return Tuned(model=model, job=job)

    def _keep(self, principal: Principal, tuned: Tuned, request: TuningRequest) -> None:
        """Put the dataset aside, then everything else in one transaction; if that fails nothing remains."""
        self._artifacts.write_dataset(tuned.job.id, request.examples)
        owner = Permission(
            id=PermissionId(new_operation_id(self._entropy(_ID_BITS))),
            model_id=tuned.model.id,
            grantee_type=GranteeType.USER,
            email=principal.email,
            role=Role.OWNER,
        )
        try:
            with self._database.write() as connection:
                self._check_queue(connection)
                tuned_models.insert(connection, tuned.model)
                tuning_jobs.insert(connection, tuned.job)
                access.grant(connection, owner)
        except (IdTaken, ResourceExhausted):
            # Only where nothing was committed for certain. After any other error the file stays for the sweep: a
            # file too many is harmless, a job without its examples is not.
            self._artifacts.delete(tuned.job.id)
            raise

    def _check_queue(self, connection: Transaction) -> None:
        waiting = tuning_jobs.count_queued(connection)
        if waiting >= self._max_queued_jobs:
            raise ResourceExhausted(
                f"The tuning queue is full: {waiting} jobs are waiting, and {self._max_queued_jobs} is the most. "
                "Try again when some of them are done, or cancel those that are not needed."
            )


def _load(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> Tuned:
    model = model_for(connection, principal, model_id, action)
    return Tuned(model=model, job=tuning_jobs.of_models(connection, [model_id])[model_id])


def _hold(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> Tuned:
    """As `_load`, and nobody else changes the job until the transaction ends."""
    tuning_jobs.hold_of_model(connection, model_id)
    return _load(connection, principal, model_id, action)


def _check_operation(tuned: Tuned, job_id: JobId | None) -> None:
    if job_id is not None and tuned.job.id != job_id:
        raise NotFound(f"Operation {tuned.model.name}/operations/{job_id} does not exist.")
