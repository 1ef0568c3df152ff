"""Makes tuned models of adapters that were trained elsewhere.

The order in which things are written: the files aside; after the adapter has been tried on its base, the files under
their final name; then one transaction with the model, its job and its owner. A crash leaves all of it or no row.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.base_model import AdapterShape, Catalog, PublicModel
from tuningfork.domain.errors import Busy, InternalError, InvalidArgument, ResourceExhausted
from tuningfork.domain.hyperparameters import NO_TRAINING
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Principal
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import ResourceTaken
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState, TuningRequest
from tuningfork.execution.base import Generators, WorkerDied
from tuningfork.service.base_models import check_described, find_base
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning import violations
from tuningfork.service.tuning.base_weights import fingerprint_now
from tuningfork.service.tuning.drafting import Origin, TrainingData, draft, ownership
from tuningfork.service.tuning.tuned import Tuned
from tuningfork.store import access, checkpoints, leases, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.imports import ArrivingAdapter
from tuningfork.store.leases import ServerId
from tuningfork.store.tuned_models import IdTaken

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 2
"""How many adapters of one owner may arrive at a time."""

_RETRY_SECONDS = 30
_ID_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An import whose files are arriving: written to `adapter.directory` by whoever receives them."""

    principal: Principal
    request: TuningRequest
    base: PublicModel
    begun: datetime
    adapter: ArrivingAdapter


class Importing:
    """The use case of imports. `turn` and `try_out` belong to one event loop, as the generators' async methods do.

    `entropy` returns an integer of that many random bits. `server` has the files that are imported here; None: not
    known.
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
        generators: Generators,
        server: ServerId | None = None,
        check_base: Callable[[PublicModel], None] = check_described,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._generators = generators
        self._server = server
        self._check_base = check_base
        self._arriving: Counter[str] = Counter()

    @contextmanager
    def turn(self, principal: Principal) -> Iterator[None]:
        """Count an import of this owner within the `with` block.

        Raises:
            Busy: `MOST_AT_ONCE` of the owner's are under way.

        """
        owner = principal.email
        if self._arriving[owner] >= MOST_AT_ONCE:
            raise Busy(
                f"{MOST_AT_ONCE} of your imports are under way, which is the most at a time. Try again when one has "
                "ended.",
                retry_seconds=_RETRY_SECONDS,
            )
        self._arriving[owner] += 1
        try:
            yield
        finally:
            self._arriving[owner] -= 1
            if not self._arriving[owner]:
                del self._arriving[owner]

    def begin(self, principal: Principal, request: TuningRequest) -> Arrival:
        """Check a request before its adapter arrives, and make a directory for the files. The caller closes it.

        Args:
            principal: the caller, who will own the model.
            request: the base's name, and the new model's names; it has no examples.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such base model.
            FailedPrecondition: the base cannot be used.
            AlreadyExists: the chosen id is taken.
            ResourceExhausted: the disk is full.

        """
        if found := violations.of_import(request):
            raise InvalidArgument(violations=found)
        base = find_base(self._catalog, request.base_model)
        self._check_base(base)
        if request.tuned_model_id is not None:
            # Checked again when the row is written; this spares an adapter the journey.
            with self._database.read() as connection:
                if tuned_models.find(connection, TunedModelId(request.tuned_model_id)) is not None:
                    raise ResourceTaken(TunedRef(TunedModelId(request.tuned_model_id)))
        adapter = self._artifacts.arriving_adapter(JobId(random_id(self._entropy(ID_BITS))))
        return Arrival(principal=principal, request=request, base=base, begun=self._clock(), adapter=adapter)

    async def try_out(self, arrival: Arrival) -> None:
        """Try the adapter, whose files are complete, on its base.

        Raises:
            InvalidArgument: the adapter was made for another base, or cannot be read.
            Unavailable: the generator died twice; the same request may succeed later.

        """
        try:
            await self._try_twice(arrival)
        except InvalidArgument as error:
            raise InvalidArgument(f"The adapter cannot be imported: {error.message}.") from error

    async def _try_twice(self, arrival: Arrival) -> None:
        tried = arrival.base.base, arrival.adapter.ref
        try:
            await self._generators.try_adapter(*tried, owner=arrival.principal.email)
        except WorkerDied:
            self._metrics.worker_deaths.labels("generator").inc()
            await self._generators.try_adapter(*tried, owner=arrival.principal.email)

    def accept(self, arrival: Arrival, shape: AdapterShape, seed: int) -> Tuned:
        """Make the model. On return it is ACTIVE, and has reached the disk.

        Args:
            arrival: the import; its adapter was tried.
            shape: the adapter's shape.
            seed: 32 bits that depend on the adapter's content, which count as its seed if it is tuned further.

        Raises:
            AlreadyExists: the chosen id was taken meanwhile.
            ResourceExhausted: the disk is full.
            Busy: others were writing to the database for too long.

        """
        job_id = arrival.adapter.job_id
        with self._artifacts.staged_dataset(()) as no_examples:
            # As every job it has a dataset, by which it is known whose files are here: an empty one.
            self._artifacts.place_dataset(no_examples, job_id)
            try:
                with arrival.adapter.kept_as(self._artifacts.adapter(job_id)):
                    made = self._write_rows(arrival, shape, seed)
            except BaseException:
                if not arrival.adapter.is_unsure:
                    self._artifacts.discard_draft(job_id)
                raise
        said = "tuned model %s was imported, as job %s"
        extra = {"action": "model_imported", "job": job_id, "model": made.model.id}
        logger.info(said, made.model.id, job_id, extra=extra)
        return made

    def _write_rows(self, arrival: Arrival, shape: AdapterShape, seed: int) -> Tuned:
        for _ in range(_ID_TRIES):
            made = self._draft(arrival, shape, seed)
            committing = False
            try:
                with self._database.write() as connection:
                    tuned_models.insert(connection, made.model)
                    tuning_jobs.insert(connection, made.job)
                    if self._server is not None:
                        leases.assign(connection, made.job.id, self._server)
                    tuning_jobs.note_findings(connection, made.job.id, ())
                    key = self._artifacts.adapter(made.job.id).key
                    last = checkpoints.add_checkpoint(
                        connection, made.job.id, step=0, epoch=0, artifact=key, metrics={}
                    )
                    checkpoints.set_default(connection, made.model.id, last.number)
                    access.grant(connection, ownership(arrival.principal, made.model.id, self._entropy))
                    committing = True
            except IdTaken as taken:
                if taken.id != made.model.id or arrival.request.tuned_model_id == taken.id:
                    raise ResourceTaken(TunedRef(made.model.id)) from taken
                continue
            except (Busy, ResourceExhausted):
                raise
            except Exception:
                if committing:
                    arrival.adapter.be_unsure()
                raise
            return made
        raise InternalError(f"No free id was found in {_ID_TRIES} tries; nothing was created. Please try again.")

    def _draft(self, arrival: Arrival, shape: AdapterShape, seed: int) -> Tuned:
        data = TrainingData(count=0, hyperparameters=NO_TRAINING, seed=seed)
        now, origin = self._clock(), Origin(base=arrival.base)
        made = draft(arrival.principal, arrival.request, origin, data, now=now, entropy=self._entropy)
        job = replace(
            made.job,
            id=arrival.adapter.job_id,
            state=JobState.SUCCEEDED,
            adapter=shape,
            imported=True,
            base_fingerprint=fingerprint_now(arrival.base.base),
            create_time=arrival.begun,
            start_time=arrival.begun,
            complete_time=now,
        )
        return Tuned(model=replace(made.model, state=ModelState.ACTIVE), job=job)
