"""A tuned model and its job as they begin: where they start from, and what is filled in for the caller."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain import hyperparameters
from tuningfork.domain.base_model import AdapterShape, Catalog, PublicModel, SamplingDefaults
from tuningfork.domain.errors import FailedPrecondition, NotFound
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import (
    ModelState,
    TunedModel,
    TunedModelId,
    id_in_name,
    new_id,
    new_operation_id,
)
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob, TuningRequest, seed_of
from tuningfork.service.base_models import find_base
from tuningfork.service.tuned import Tuned, load
from tuningfork.store.database import Transaction

ID_BITS = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a tuning starts: at a base model, or at what a tuned model over that base has learned (`source`)."""

    base: PublicModel
    source: Tuned | None = None

    @property
    def sampling(self) -> SamplingDefaults | TunedModel:
        """Whose temperature, top_p and top_k a model has that was given none."""
        return self.source.model if self.source else self.base.base.sampling

    @property
    def adapter(self) -> AdapterShape:
        """The shape of the adapter; weights that are there already keep theirs."""
        return self.source.job.adapter if self.source else self.base.base.adapter


def find_origin(connection: Transaction, principal: Principal, request: TuningRequest, catalog: Catalog) -> Origin:
    """The origin that a request names.

    Raises:
        NotFound: there is no such tuned model, or its base or the base that is named is not served.
        PermissionDenied: the caller may not tune on that tuned model.
        FailedPrecondition: it is not, or not yet, a model that can be used.

    """
    if not request.tuned_model_source:
        return Origin(base=find_base(catalog, request.base_model, "createTunedModel"))
    source_id = id_in_name(request.tuned_model_source)
    if source_id is None:
        raise source_is_missing(request.tuned_model_source)
    source = load(connection, principal, source_id, Action.TUNE_ON)
    if source.model.state is not ModelState.ACTIVE:
        raise FailedPrecondition(
            f"Tuned model {source.model.name} cannot be tuned further: its state is {source.model.state.value}, and "
            "it must be ACTIVE."
        )
    return Origin(base=find_base(catalog, source.model.base_model, "createTunedModel"), source=source)


def source_is_missing(name: str) -> NotFound:
    """The error for a source that is not there, or no longer."""
    return NotFound(f"Tuned model {name} does not exist.")


def draft(
    principal: Principal, request: TuningRequest, origin: Origin, *, now: datetime, entropy: Callable[[int], int]
) -> Tuned:
    """The model and the job, under a new id each. `entropy` gives as many random bits as it is asked for."""
    model = _draft_model(request, origin, now, entropy)
    count = len(request.examples)
    used = hyperparameters.resolve(request.hyperparameters, count, origin.base.base.default_learning_rate)
    source_job = origin.source.job if origin.source else None
    job = TuningJob(
        id=JobId(new_operation_id(entropy(ID_BITS))),
        model_id=model.id,
        base_model=model.base_model,
        state=JobState.QUEUED,
        hyperparameters=used,
        adapter=origin.adapter,
        example_count=count,
        seed=seed_of(request.examples, used, origin.base.base.name, source_job),
        create_time=now,
        created_by=principal.credential,
    )
    return Tuned(model=model, job=job)


def _draft_model(request: TuningRequest, origin: Origin, now: datetime, entropy: Callable[[int], int]) -> TunedModel:
    chosen = request.tuned_model_id
    defaults = origin.sampling
    return TunedModel(
        id=TunedModelId(chosen) if chosen is not None else new_id(request.display_name, entropy(ID_BITS)),
        base_model=origin.base.name,
        source=origin.source.model.id if origin.source else None,
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
