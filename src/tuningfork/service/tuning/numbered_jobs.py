"""Tuning jobs for dialects that name them by numbers below a project and location, and tune on examples in buckets."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.base_model import Catalog, PublicModel, with_prefix
from tuningfork.domain.bucket_tuning import BucketTuning, VersionRef, violations_of
from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import FieldViolation, InternalError, InvalidArgument, Reason
from tuningfork.domain.hyperparameters import NO_TRAINING
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import BaseRef, CheckpointRef, TunedRef
from tuningfork.domain.refusals import BaseModelNotFound, JobRef, ResourceNotFound, RoleInsufficient
from tuningfork.domain.tuned_model import DEFAULT_VERSION, ProjectLocation, TunedModel, TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob, TuningRequest, seed_of_source
from tuningfork.service.base_models import check_described
from tuningfork.service.metrics import Metrics
from tuningfork.service.paging import Page, size_of
from tuningfork.service.tuning.drafting import Origin, TrainingData, draft, find_origin
from tuningfork.service.tuning.job_queue import JobQueue
from tuningfork.service.tuning.listing import Listing
from tuningfork.service.tuning.registered import NoSuchModel, may, version_of
from tuningfork.service.tuning.tuned import Tuned, load, with_jobs
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import checkpoints, registry, tuned_models
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.tuned_models import IdTaken, Place

_ID_TRIES = 8
_ROWS_AT_A_TIME = 200
_UUID_BITS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedJob:
    """A job with the model that it makes and the checkpoints that it has left so far.

    `waits_for_quota`: it waits since its project has as many jobs in training as it may have.
    """

    model: TunedModel
    job: TuningJob
    checkpoints: tuple[Checkpoint, ...] = ()
    waits_for_quota: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketChecks:
    """What is checked of an object before a job is created.

    Attributes:
        may_read: raises unless the caller may read the object, and it is there.
        look: raises if one of its first rows cannot be read as an example, or not by the caller.

    """

    may_read: Callable[[Principal, str], None]
    look: Callable[[Principal, str], None]


class NumberedJobs:
    """Creates, gets, lists and cancels tuning jobs by number. `entropy` returns an integer of that many random bits."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        clock: Callable[[], datetime],
        entropy: Callable[[int], int],
        metrics: Metrics,
        *,
        tuning: Tuning,
        queue: JobQueue,
        checks: BucketChecks,
        wake: Callable[[], None] = lambda: None,
        check_base: Callable[[PublicModel], None] = check_described,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._tuning = tuning
        self._queue = queue
        self._checks = checks
        self._wake = wake
        self._check_base = check_base

    def create(self, principal: Principal, place: ProjectLocation, wanted: BucketTuning) -> NumberedJob:
        """Accept a job, whose examples are read later. Nothing is stored before everything has been checked.

        Raises:
            InvalidArgument: everything that is wrong with the request, or with the first rows of its files.
            NotFound: there is no such base model, tuned model or file.
            PermissionDenied: the caller may not go on from that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE, or the base cannot be used.
            QuotaExceeded: the caller or the project has too many jobs that are not done.
            ResourceExhausted: too many jobs wait, or the disk is full.

        """
        found = list(violations_of(wanted))
        origin = self._origin(principal, wanted)
        found += _violations_of_rank(wanted, origin)
        if found:
            raise InvalidArgument(violations=tuple(found))
        self._check_base(origin.base)
        for name, uri in _files_of(wanted):
            self._check_file(principal, name, uri)
        parent = self._parent(principal, place, wanted, origin)
        for _ in range(_ID_TRIES):
            made = self._draft(principal, place, wanted, origin, parent)
            try:
                kept = self._queue.join_unprepared(principal, made, origin)
            except IdTaken:
                continue
            self._metrics.created_jobs.inc()
            self._wake()
            return NumberedJob(model=kept.model, job=kept.job)
        raise InternalError(f"No free id was found in {_ID_TRIES} tries; nothing was created. Please try again.")

    def get(self, principal: Principal, place: ProjectLocation, number: int) -> NumberedJob:
        """The job with this number.

        Raises:
            NotFound: there is no such job here, or the caller has no role on its model.

        """
        with self._database.read() as connection:
            tuned = self._load(connection, principal, place, number, Action.GET)
            return self._numbered(connection, tuned)

    def list(
        self,
        principal: Principal,
        place: ProjectLocation,
        *,
        page_size: int | None = None,
        page_token: str = "",
        filter: str = "",  # noqa: A002
        matches: Callable[[NumberedJob], bool] = lambda _: True,
    ) -> Page[NumberedJob]:
        """The jobs of a project and location on whose models the caller has a role, the newest first.

        Args:
            principal: the caller.
            place: the project and location.
            page_size: the requested size.
            page_token: the token that came with the previous page; "": the first page.
            filter: the filter's text, to which a token belongs.
            matches: whether a job is in the list.

        Raises:
            InvalidArgument: the size or the token is wrong.

        """
        size = size_of(page_size)
        constant = f"{place}\n{filter}"
        listing = Listing.newest_first(principal, place, page_token=page_token, constant=constant, rows=_ROWS_AT_A_TIME)
        with self._database.read() as connection:
            matching: list[NumberedJob] = []
            for each in self._in_order(connection, listing):
                if matches(each):
                    if len(matching) == size:
                        return Page(tuple(matching), listing.next_page_token(matching[-1].model))
                    matching.append(each)
        return Page(tuple(matching), "")

    def cancel(self, principal: Principal, place: ProjectLocation, number: int) -> None:
        """Cancel a job, as `Tuning.cancel`; a job that has ended stays as it is.

        Raises:
            NotFound: there is no such job here, or the caller has no role on its model.
            PermissionDenied: the caller may not cancel it.

        """
        with self._database.read() as connection:
            tuned = self._load(connection, principal, place, number, Action.CANCEL)
        self._tuning.cancel(principal, tuned.model.id, tuned.job.id)

    def _check_file(self, principal: Principal, name: str, uri: str) -> None:
        try:
            self._checks.may_read(principal, uri)
        except InvalidArgument as error:
            violation = FieldViolation(field=name, description=error.message, reason=Reason.MALFORMED)
            raise InvalidArgument(violations=(violation,)) from error
        self._checks.look(principal, uri)

    def _in_order(self, connection: Transaction, listing: Listing) -> Iterator[NumberedJob]:
        search = listing.search
        while True:
            found = tuned_models.search(connection, search)
            for tuned in with_jobs(connection, found, snapshots=False):
                yield self._numbered(connection, tuned)
            if len(found) < search.limit:
                return
            search = replace(search, after=Place(create_time=found[-1].create_time, model_id=found[-1].id))

    def _load(
        self, connection: Transaction, principal: Principal, place: ProjectLocation, number: int, action: Action
    ) -> Tuned:
        model = registry.find_numbered(connection, place, number)
        missing = ResourceNotFound(JobRef(TunedModelId(""), JobId(str(number))))
        if model is None:
            raise missing
        try:
            found = load(connection, principal, model.id, Action.GET)
        except RoleInsufficient as error:
            raise missing from error
        return found if action is Action.GET else load(connection, principal, model.id, action)

    def _numbered(self, connection: Transaction, tuned: Tuned) -> NumberedJob:
        kept = checkpoints.checkpoints_of(connection, tuned.job.id)
        waits = tuned.job.state is JobState.QUEUED and self._queue.project_is_full(connection, tuned.model.project)
        return NumberedJob(model=tuned.model, job=tuned.job, checkpoints=kept, waits_for_quota=waits)

    def _origin(self, principal: Principal, wanted: BucketTuning) -> Origin:
        with self._database.read() as connection:
            source = None if wanted.source is None else self._source(connection, principal, wanted.source)
            name = wanted.base_model and _name_in(self._catalog, wanted.base_model)
            request = TuningRequest(base_model=name, source=source)
            return find_origin(connection, principal, request, self._catalog, self._artifacts)

    def _source(self, connection: Transaction, principal: Principal, wanted: VersionRef) -> TunedRef | CheckpointRef:
        missing = ResourceNotFound(TunedRef(TunedModelId(str(wanted.number))))
        model = registry.find_version(connection, wanted.place, wanted.number, wanted.version)
        if model is None:
            raise missing
        if wanted.version == DEFAULT_VERSION:
            # As for those who call the model: the newest one before, as long as the default one has left nothing.
            with suppress(NoSuchModel):
                model = version_of(connection, principal, wanted.place, wanted.number, wanted.version, Action.GET).model
        try:
            load(connection, principal, model.id, Action.GET)
        except RoleInsufficient as error:
            raise missing from error
        return TunedRef(model.id) if wanted.checkpoint is None else CheckpointRef(model.id, wanted.checkpoint)

    def _parent(self, principal: Principal, place: ProjectLocation, wanted: BucketTuning, origin: Origin) -> int | None:
        """As the function `_parent`; also None unless the caller owns all versions there are.

        The next version becomes the default one: whoever may only read a model must not change what it answers.
        """
        number = _parent(wanted, origin, place)
        if number is None:
            return None
        with self._database.read() as connection:
            versions = registry.versions_of(connection, place, number)
            owned = all(may(connection, principal, each.id, Action.DELETE) for each in versions)
        return number if owned else None

    def _draft(
        self,
        principal: Principal,
        place: ProjectLocation,
        wanted: BucketTuning,
        origin: Origin,
        parent: int | None,
    ) -> Tuned:
        request = TuningRequest(
            base_model=origin.base.name,
            display_name=self._display_name(wanted, origin),
            description=wanted.description,
            adapter_rank=wanted.adapter_rank,
        )
        seed = 0 if origin.source is None else seed_of_source(origin.source.job)
        data = TrainingData(count=0, hyperparameters=NO_TRAINING, seed=seed)
        made = draft(principal, request, origin, data, now=self._clock(), entropy=self._entropy)
        job = replace(
            made.job,
            project=place.project,
            location=place.location,
            state=JobState.PREPARING,
            preparation=replace(wanted.preparation, reader=_reader(principal)),
            is_prepared=False,
            request_details=wanted.details,
        )
        model = replace(
            made.model,
            project=place.project,
            location=place.location,
            labels=wanted.labels,
            parent=parent,
        )
        return Tuned(model=model, job=job)

    def _display_name(self, wanted: BucketTuning, origin: Origin) -> str:
        if wanted.display_name or origin.source:
            return wanted.display_name or (origin.source.model.display_name if origin.source else "")
        digits = f"{self._entropy(_UUID_BITS):032x}"
        uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        return f"{wanted.base_model}-{uuid}"


def _reader(principal: Principal) -> Principal:
    """Whom the job's files are read for. Groups are left out: buckets belong to persons."""
    return Principal(email=principal.email, project=principal.project)


def _files_of(wanted: BucketTuning) -> list[tuple[str, str]]:
    """The fields with addresses of files, and the addresses."""
    training, validation = wanted.preparation.training_uri, wanted.preparation.validation_uri
    return [("training_uri", training), *([("validation_uri", validation)] if validation is not None else [])]


def _parent(wanted: BucketTuning, origin: Origin, place: ProjectLocation) -> int | None:
    """The number under which the model is a further version; None: it is a model of its own.

    A model that goes on from another one is a version of it, unless it has another name or belongs elsewhere.
    """
    source = origin.source.model if origin.source else None
    if source is None or (source.project, source.location) != (place.project, place.location):
        return None
    return source.registry_model if wanted.display_name in ("", source.display_name) else None


def _violations_of_rank(wanted: BucketTuning, origin: Origin) -> list[FieldViolation]:
    rank, base = wanted.adapter_rank, origin.base
    if rank is None:
        return []
    allowed = base.limits.adapter_ranks
    if origin.source is not None:
        if rank == origin.source.job.adapter.rank:
            return []
        described = f"A model that is tuned further keeps its adapter size, which is {origin.source.job.adapter.rank}."
    elif rank <= base.base.max_adapter_rank and (allowed is None or rank in allowed):
        return []
    else:
        described = "The adapter size is not supported for this base model."
    return [FieldViolation(field="adapter_rank", description=described, reason=Reason.NOT_ALLOWED)]


def _name_in(catalog: Catalog, name: str) -> str:
    """The name by which the catalog knows a base: as it is given, by its Hub id, or by the version of `name@version`.

    Raises:
        BaseModelNotFound: this server has no such base model.

    """
    version = name.rpartition("@")[2]
    for candidate in (name, version):
        if catalog.find(candidate) is not None:
            return candidate
    by_hub_id = (each.base.name for each in catalog.public_models() if each.base.exported_name == name)
    found = next(by_hub_id, None)
    if found is None:
        raise BaseModelNotFound(BaseRef(with_prefix(name)))
    return found
