"""Makes a new tuned model and its job: finds what they start from, and fills in values that the caller left out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape, Catalog, PublicModel, SamplingDefaults
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.early_stopping import usual_evaluate_every
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.ids import ID_BITS, number_of, random_id
from tuningfork.domain.permission import Action, GranteeType, Permission, PermissionId, Principal, Role
from tuningfork.domain.probe_prompts import schedule_with_probes
from tuningfork.domain.references import CheckpointRef, TunedRef
from tuningfork.domain.refusals import ModelNotUsable, Purpose, ResourceNotFound
from tuningfork.domain.tuned_model import (
    ModelState,
    TunedModel,
    TunedModelId,
    new_id,
)
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob, TuningRequest
from tuningfork.service.base_models import base_of, find_base
from tuningfork.service.tuning.base_weights import check_base
from tuningfork.service.tuning.checkpointing import adapter_of
from tuningfork.service.tuning.tuned import Tuned, load
from tuningfork.service.tuning.violations import of_source
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.checkpoints import find_checkpoint
from tuningfork.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a tuning starts from: a base model, or the weights of a tuned model over that base (`source`).

    The weights are those of the source's default checkpoint, or of another one that was named, `weights`. The job in
    `source` has taken as many steps as that checkpoint.
    """

    base: PublicModel
    source: Tuned | None = None
    weights: ArtifactRef | None = None

    @property
    def sampling(self) -> SamplingDefaults | TunedModel:
        """The source of temperature, top_p and top_k for a new model whose request gives none."""
        return self.source.model if self.source else self.base.base.sampling

    @property
    def adapter(self) -> AdapterShape:
        """The shape of an adapter whose rank nobody chose: that of the source tuned model, or else the base's."""
        if self.source is not None:
            return self.source.job.adapter
        usual, rank = self.base.base.adapter, self.base.limits.default_rank
        return usual if rank is None else replace(usual, rank=rank)

    def adapter_of(self, rank: int | None) -> AdapterShape:
        """The shape of an adapter of this rank, with the usual alpha; None: of the usual rank.

        With the same alpha, an adapter of any rank learns about as fast at the same learning rate (Hu et al. 2021,
        section 4.1).
        """
        return self.adapter if rank is None else replace(self.adapter, rank=rank)


def find_origin(
    connection: Transaction, principal: Principal, request: TuningRequest, catalog: Catalog, artifacts: Artifacts
) -> Origin:
    """The origin that a request names.

    Raises:
        NotFound: there is no such tuned model or checkpoint, or the base model is not served.
        PermissionDenied: the caller may not tune on that tuned model.
        FailedPrecondition: the tuned model is not ACTIVE, or was made over other weights than its base has now.

    """
    if request.source is None:
        return Origin(base=find_base(catalog, request.base_model))
    match request.source:
        case TunedRef(id=model_id):
            number = None
        case CheckpointRef(model=model_id, number=number):
            pass
        case unreadable:
            raise InvalidArgument(violations=tuple(of_source(unreadable)))
    source = load(connection, principal, model_id, Action.TUNE_ON)
    if source.model.state is not ModelState.ACTIVE:
        raise ModelNotUsable(TunedRef(model_id), source.model.state, Purpose.TUNE_ON)
    base = base_of(catalog, source.model)
    chosen = find_checkpoint(connection, model_id, number)
    if chosen is None and number is not None:
        raise ResourceNotFound(CheckpointRef(model_id, number))
    weights = adapter_of(connection, artifacts, model_id) if chosen is None else ArtifactRef(chosen.artifact)
    check_base(base, artifacts, source, weights)
    if chosen is not None:
        # The seed tells checkpoints of one job apart by their steps.
        source = replace(source, job=replace(source.job, completed_steps=chosen.step))
    return Origin(base=base, source=source, weights=weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a job needs to know of its examples: their number, the hyperparameters for it, and the seed made of them.

    `validation_count` is the number of examples of its validation set; 0: it has none. `teaches_next_turn` and
    `answers` are of these examples alone; None: nobody knows.
    """

    count: int
    hyperparameters: Hyperparameters
    seed: int
    validation_count: int = 0
    teaches_next_turn: bool | None = None
    answers: AnswerKind | None = None


def draft(
    principal: Principal,
    request: TuningRequest,
    origin: Origin,
    data: TrainingData,
    *,
    now: datetime,
    entropy: Callable[[int], int],
) -> Tuned:
    """The new model and job, each with a new id. `entropy` returns an integer of that many random bits."""
    chosen = request.tuned_model_id
    model_id = new_id(request.display_name, entropy(ID_BITS)) if chosen is None else TunedModelId(chosen)
    job_id = JobId(random_id(entropy(ID_BITS)))
    model = _draft_model(principal, request, origin, data.answers, now, (model_id, job_id))
    job = TuningJob(
        id=job_id,
        model_id=model.id,
        base_model=model.base_model,
        resolved_base=model.resolved_base,
        state=JobState.QUEUED,
        hyperparameters=data.hyperparameters,
        adapter=origin.adapter_of(request.adapter_rank),
        example_count=data.count,
        seed=data.seed,
        create_time=now,
        created_by=principal.credential,
        project=model.project,
        location=model.location,
        checkpoints=_checkpoints(request, data),
        validation_count=data.validation_count,
        evaluate_every=_evaluate_every(request, data),
        keep_best=request.keep_best or request.early_stopping is not None,
        early_stopping=request.early_stopping,
        teaches_next_turn=_teaches_next_turn(data, origin),
    )
    return Tuned(model=model, job=job, request_id=request.request_id, probe_prompts=request.probe_prompts)


def _checkpoints(request: TuningRequest, data: TrainingData) -> CheckpointSchedule:
    if not request.probe_prompts:
        return request.checkpoints
    return schedule_with_probes(request.checkpoints, data.hyperparameters.epoch_count)


def _evaluate_every(request: TuningRequest, data: TrainingData) -> int:
    """The steps between evaluations: as many as were asked for, or as the service chooses; 0: only after the last."""
    if request.evaluate_every is not None or not data.validation_count:
        return request.evaluate_every or 0
    used = data.hyperparameters
    return usual_evaluate_every(used.total_steps(data.count), data.count * used.epoch_count, data.validation_count)


def _teaches_next_turn(data: TrainingData, origin: Origin) -> bool | None:
    """Whether these examples or the source's teach it; None: not known of one, and the other does not."""
    taught = {data.teaches_next_turn}
    if origin.source is not None:
        taught.add(origin.source.job.teaches_next_turn)
    if True in taught:
        return True
    return None if None in taught else False


def ownership(principal: Principal, model_id: TunedModelId, entropy: Callable[[int], int]) -> Permission:
    """The permission, with a new id, that makes the creator of a model its owner."""
    return Permission(
        id=PermissionId(random_id(entropy(ID_BITS))),
        model_id=model_id,
        grantee_type=GranteeType.USER,
        email=principal.email,
        role=Role.OWNER,
    )


def _temperature(request: TuningRequest, origin: Origin, answers: AnswerKind | None) -> float:
    """The new model's default temperature.

    A request that gives none of the three sampling values leaves it to the examples: 0 if each input has one right
    answer. A base under an alias keeps its own value instead: programs use such a name for what it promises elsewhere,
    which is that a tuned model has the base model's value.
    """
    if request.temperature is not None:
        return request.temperature
    is_open = request.top_p is None and request.top_k is None
    if is_open and answers is not None and answers.wants_likeliest and origin.base.name == origin.base.base.name:
        return 0.0
    return origin.sampling.temperature


def _draft_model(
    principal: Principal,
    request: TuningRequest,
    origin: Origin,
    answers: AnswerKind | None,
    now: datetime,
    ids: tuple[TunedModelId, JobId],
) -> TunedModel:
    model_id, job_id = ids
    defaults = origin.sampling
    return TunedModel(
        id=model_id,
        number=number_of(job_id),
        base_model=origin.base.name,
        resolved_base=origin.base.base.name,
        source=origin.source.model.id if origin.source else None,
        display_name=request.display_name,
        description=request.description,
        state=ModelState.CREATING,
        create_time=now,
        update_time=now,
        temperature=_temperature(request, origin, answers),
        top_p=defaults.top_p if request.top_p is None else request.top_p,
        top_k=defaults.top_k if request.top_k is None else request.top_k,
        reader_project_numbers=request.reader_project_numbers,
        project=principal.project,
    )
