"""The table of tuning jobs, and the only function that changes a job's state.

Every change goes through `move`, which enforces the transition table, records an event, and lets one of several
concurrent callers win.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Select, and_, case, func, literal, not_, select
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.errors import Code
from tuningfork.domain.findings import FindingKind
from tuningfork.domain.hyperparameters import NO_TRAINING, Hyperparameters, total_steps_of
from tuningfork.domain.permission import Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import TRANSITIONS, JobError, JobId, JobState, TuningJob
from tuningfork.domain.turns import Tenant
from tuningfork.store import data_statistics, training_options
from tuningfork.store.column_types import UtcDateTime
from tuningfork.store.database import is_duplicate, lock_name
from tuningfork.store.schema import is_over, job_events, permissions, tuned_models, tuning_jobs
from tuningfork.store.tuned_models import IdTaken

CODE_NUMBERS = {
    Code.CANCELLED: 1,
    Code.UNKNOWN: 2,
    Code.INVALID_ARGUMENT: 3,
    Code.DEADLINE_EXCEEDED: 4,
    Code.NOT_FOUND: 5,
    Code.ALREADY_EXISTS: 6,
    Code.PERMISSION_DENIED: 7,
    Code.RESOURCE_EXHAUSTED: 8,
    Code.FAILED_PRECONDITION: 9,
    Code.ABORTED: 10,
    Code.OUT_OF_RANGE: 11,
    Code.UNIMPLEMENTED: 12,
    Code.INTERNAL: 13,
    Code.UNAVAILABLE: 14,
    Code.DATA_LOSS: 15,
    Code.UNAUTHENTICATED: 16,
}
"""The number that is stored for each code. Rows outlive versions, so the meaning of a number never changes."""
_CODES = {number: code for code, number in CODE_NUMBERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """A job that waits, and which files its training needs besides its examples.

    Attributes:
        id: the job's id.
        tenant: on whose behalf it is trained.
        has_validation: whether it has a validation set.
        has_source: whether it goes on from the adapter of a tuned model.

    """

    id: JobId
    tenant: Tenant = Tenant()
    has_validation: bool = False
    has_source: bool = False


def insert(connection: Connection, job: TuningJob) -> None:
    """Add a job, which has no snapshots yet. One that was imported, not trained, has ended.

    Raises:
        IdTaken: there is a job with this id already.

    """
    row = {
        "id": job.id,
        "model_id": job.model_id,
        "base_model": job.base_model,
        "resolved_base": job.resolved_base,
        "state": job.state.value,
        "cancel_requested": job.cancel_requested,
        "attempts": job.attempts,
        "furthest_step": 0,
        "epoch_count": max(1, job.hyperparameters.epoch_count),
        "batch_size": max(1, job.hyperparameters.batch_size),
        "learning_rate": job.hyperparameters.learning_rate,
        "learning_rate_multiplier": job.hyperparameters.learning_rate_multiplier,
        "adapter_rank": job.adapter.rank,
        "adapter_alpha": job.adapter.alpha,
        "example_count": max(1, job.example_count),
        "seed": job.seed,
        "training_options": training_options.options_of(job),
        "create_time": job.create_time,
        "start_time": job.start_time,
        "complete_time": job.complete_time,
        "created_by": job.created_by,
        "project": job.project,
        "location": job.location,
        "completed_steps": job.completed_steps,
        "last_loss": job.last_loss,
        "request_details": dict(job.request_details),
        "data_statistics": data_statistics.written(job.data_statistics),
    }
    try:
        connection.execute(tuning_jobs.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error, "tuning_jobs"):
            raise IdTaken(job.id) from error
        raise


def find(connection: Connection, job_id: JobId) -> TuningJob | None:
    """The job with this id, without its snapshots; or None."""
    row = connection.execute(select(tuning_jobs).where(tuning_jobs.c.id == job_id)).mappings().first()
    return None if row is None else _job(row)


def hold(connection: Connection, job_id: JobId) -> None:
    """Lock the job until this transaction ends, so that no other transaction changes it.

    Needed on PostgreSQL, where transactions write in parallel; SQLite has one writer at a time.
    """
    connection.execute(select(tuning_jobs.c.id).where(tuning_jobs.c.id == job_id).with_for_update())


def hold_of_model(connection: Connection, model_id: TunedModelId) -> None:
    """Lock the job of this model, if there is one; see `hold`."""
    connection.execute(select(tuning_jobs.c.id).where(tuning_jobs.c.model_id == model_id).with_for_update())


def id_of_model(connection: Connection, model_id: TunedModelId) -> JobId:
    """The id of the job of this model, which must exist."""
    query = select(tuning_jobs.c.id).where(tuning_jobs.c.model_id == model_id)
    return JobId(connection.execute(query).scalar_one())


def teaches_next_turn(connection: Connection, model_id: TunedModelId) -> bool | None:
    """Whether the model of this id was trained on answers with the label of a next turn; None: nobody knows."""
    query = select(tuning_jobs.c.training_options).where(tuning_jobs.c.model_id == model_id)
    options = connection.execute(query).scalar()
    return None if options is None else training_options.teaches_next_turn(options)


def base_fingerprint(connection: Connection, model_id: TunedModelId) -> str | None:
    """The fingerprint that is recorded for the model of this id; None: none is (`TuningJob.base_fingerprint`)."""
    query = select(tuning_jobs.c.training_options).where(tuning_jobs.c.model_id == model_id)
    options = connection.execute(query).scalar()
    return None if options is None else training_options.base_fingerprint_in(options)


def note_base_fingerprint(connection: Connection, model_id: TunedModelId, fingerprint: str) -> None:
    """Record the fingerprint of the weights over which the model of this id was made, unless one is recorded."""
    query = select(tuning_jobs.c.id, tuning_jobs.c.training_options).where(tuning_jobs.c.model_id == model_id)
    row = connection.execute(query.with_for_update()).first()
    if row is None or training_options.base_fingerprint_in(row.training_options) is not None:
        return
    options = {**row.training_options, "base_fingerprint": fingerprint}
    connection.execute(tuning_jobs.update().where(tuning_jobs.c.id == row.id).values(training_options=options))


def of_models(connection: Connection, model_ids: Collection[TunedModelId]) -> Mapping[TunedModelId, TuningJob]:
    """The job of each of these models, without its snapshots."""
    rows = connection.execute(select(tuning_jobs).where(tuning_jobs.c.model_id.in_(model_ids))).mappings()
    return {TunedModelId(row["model_id"]): _job(row) for row in rows}


def queued_of_owners(
    connection: Connection, base_models: Collection[BaseModelName], aliases: Collection[BaseModelName] = ()
) -> list[QueuedJob]:
    """The queued jobs over one of these bases, the oldest first."""
    needs = (tuning_jobs.c.training_options, tuned_models.c.source.is_not(None).label("has_source"))
    query = with_tenant(*needs).join(tuned_models, tuned_models.c.id == tuning_jobs.c.model_id)
    query = query.where(_is_queued_over(base_models, aliases)).order_by(tuning_jobs.c.create_time, tuning_jobs.c.id)
    return [
        QueuedJob(
            id=JobId(row.id),
            tenant=tenant_in(row),
            has_validation=training_options.validation_count_in(row.training_options) > 0,
            has_source=row.has_source,
        )
        for row in connection.execute(query)
    ]


def tenants_of(connection: Connection, job_ids: Collection[JobId]) -> Mapping[JobId, Tenant]:
    """On whose behalf each of these jobs is done."""
    rows = connection.execute(with_tenant().where(tuning_jobs.c.id.in_(job_ids)))
    return {JobId(row.id): tenant_in(row) for row in rows}


def steps_left_of_running(connection: Connection) -> Mapping[JobId, int]:
    """The jobs in training, each with how many of its steps are not completed."""
    columns = tuning_jobs.c
    sizes = (columns.example_count, columns.epoch_count, columns.batch_size)
    query = select(columns.id, columns.completed_steps, *sizes).where(columns.state == JobState.RUNNING.value)
    return {
        JobId(job_id): total_steps_of(*found) - completed for job_id, completed, *found in connection.execute(query)
    }


def with_tenant(*further: ColumnElement[Any]) -> Select[Any]:
    """A query of jobs' ids, what `tenant_in` reads, and further columns."""
    is_owner = and_(permissions.c.model_id == tuning_jobs.c.model_id, permissions.c.role == Role.OWNER.value)
    query = select(tuning_jobs.c.id, tuning_jobs.c.project, permissions.c.email.label("owner"), *further)
    return query.select_from(tuning_jobs.outerjoin(permissions, is_owner))


def tenant_in(row: Row[Any]) -> Tenant:
    """On whose behalf the job of a row of `with_tenant` is done."""
    return Tenant(project=row.project, owner=row.owner or "")


def first_queued(connection: Connection, candidates: Sequence[JobId]) -> TuningJob | None:
    """The first of these jobs that is queued, locked for this transaction; None if there is none.

    Concurrent callers (PostgreSQL) each get another job.
    """
    order = {job_id: place for place, job_id in enumerate(candidates)}
    query = select(tuning_jobs).where(tuning_jobs.c.id.in_(candidates), tuning_jobs.c.state == JobState.QUEUED.value)
    query = query.order_by(case(order, value=tuning_jobs.c.id)).limit(1).with_for_update(skip_locked=True)
    row = connection.execute(query).mappings().first()
    return None if row is None else _job(row)


def queued_without(
    connection: Connection, base_models: Collection[BaseModelName], aliases: Collection[BaseModelName] = ()
) -> list[TuningJob]:
    """The queued jobs over other bases than these, the oldest first, without their snapshots."""
    query = select(tuning_jobs).where(tuning_jobs.c.state == JobState.QUEUED.value, not_(is_over(base_models, aliases)))
    rows = connection.execute(query.order_by(tuning_jobs.c.create_time, tuning_jobs.c.id)).mappings()
    return [_job(row) for row in rows]


def states(connection: Connection) -> dict[JobId, JobState]:
    """The state of every job."""
    rows = connection.execute(select(tuning_jobs.c.id, tuning_jobs.c.state))
    return {JobId(row.id): JobState(row.state) for row in rows}


def wanted_ids(connection: Connection, job_ids: Collection[JobId]) -> set[JobId]:
    """Those of these jobs that still exist and whose cancellation is not requested."""
    query = select(tuning_jobs.c.id).where(tuning_jobs.c.id.in_(job_ids), ~tuning_jobs.c.cancel_requested)
    return {JobId(row.id) for row in connection.execute(query)}


def count_by_state(connection: Connection) -> dict[JobState, int]:
    """How many jobs are in each state, including states without jobs."""
    query = select(tuning_jobs.c.state, func.count()).group_by(tuning_jobs.c.state)
    counted = {JobState(state): count for state, count in connection.execute(query)}
    return {state: counted.get(state, 0) for state in JobState}


def count_unfinished(connection: Connection, created_by: str) -> int:
    """How many jobs of this credential are queued or running.

    A concurrent transaction that counts the jobs of the same credential waits until this one ends.
    """
    lock_name(connection, f"jobs of {created_by}")
    unfinished = [state.value for state in JobState if not state.is_final]
    query = select(func.count()).where(tuning_jobs.c.created_by == created_by, tuning_jobs.c.state.in_(unfinished))
    return connection.execute(query).scalar_one()


def count_queued(connection: Connection, owner: str | None = None) -> int:
    """How many jobs wait to be trained or prepared, of the owner with this address or of all."""
    query = select(func.count()).select_from(tuning_jobs)
    if owner is not None:
        own = select(permissions.c.model_id).where(permissions.c.email == owner, permissions.c.role == Role.OWNER.value)
        query = query.where(tuning_jobs.c.model_id.in_(own))
    # A query for each state, so that each reads only the index of its own.
    waiting = [tuning_jobs.c.state == state.value for state in (JobState.QUEUED, JobState.PREPARING)]
    return sum(connection.execute(query.where(condition)).scalar_one() for condition in waiting)


def move(
    connection: Connection,
    job_id: JobId,
    target: JobState,
    time: datetime,
    *,
    error: JobError | None = None,
    reason: str = "",
) -> bool:
    """Change the job's state if the transition is allowed, and the columns that depend on the state.

    Args:
        connection: the transaction.
        job_id: the job.
        target: the new state. A final state also sets the time of completion, `running` the time of the first start.
        time: the time now.
        error: the error to show to the owner; required for failed and cancelled jobs, forbidden for others.
        reason: the reason to record in the event.

    Returns:
        Whether the state was changed. False: the job does not exist, or its state does not allow the change any more.

    """
    held = select(tuning_jobs.c.state).where(tuning_jobs.c.id == job_id).with_for_update()
    source = connection.execute(held).scalar()
    if source is None or target not in TRANSITIONS[JobState(source)]:
        return False
    values: dict[str, object] = {"state": target.value}
    if target.is_final:
        values["complete_time"] = time
    if target is JobState.RUNNING:
        values["start_time"] = func.coalesce(tuning_jobs.c.start_time, literal(time, UtcDateTime()))
        values["attempts"] = tuning_jobs.c.attempts + 1
    if error:
        values |= {"error_code": CODE_NUMBERS[error.code], "error_message": error.message}
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, tuning_jobs.c.state == source)
    if connection.execute(change.values(values)).rowcount == 0:
        return False
    event = {"job_id": job_id, "from_state": source, "to_state": target.value, "time": time, "reason": reason}
    connection.execute(job_events.insert(), event)
    return True


def forget_attempt(connection: Connection, job_id: JobId) -> None:
    """Reduce the count of attempts by one, for an attempt that ended for a reason outside the job."""
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, tuning_jobs.c.attempts > 0)
    connection.execute(change.values(attempts=tuning_jobs.c.attempts - 1))


def note_findings(connection: Connection, job_id: JobId, kinds: Collection[FindingKind]) -> None:
    """Record what the losses of the job give reason to warn of."""
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id)
    connection.execute(change.values(findings=" ".join(kinds)))


def request_cancel(connection: Connection, job_id: JobId) -> None:
    """Set the job's cancel flag, unless the job has ended."""
    unfinished = tuning_jobs.c.complete_time.is_(None)
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, unfinished)
    connection.execute(change.values(cancel_requested=True))


def _is_queued_over(base_models: Collection[BaseModelName], aliases: Collection[BaseModelName]) -> ColumnElement[bool]:
    return and_(tuning_jobs.c.state == JobState.QUEUED.value, is_over(base_models, aliases))


def _job(row: RowMapping) -> TuningJob:
    code = row["error_code"]
    options = row["training_options"]
    imported = training_options.is_imported(options)
    prepared = training_options.is_prepared(options)
    trains = prepared and not imported
    return TuningJob(
        id=JobId(row["id"]),
        model_id=TunedModelId(row["model_id"]),
        base_model=BaseModelName(row["base_model"]),
        resolved_base=None if row["resolved_base"] is None else BaseModelName(row["resolved_base"]),
        state=JobState(row["state"]),
        hyperparameters=_hyperparameters(row) if trains else NO_TRAINING,
        checkpoints=training_options.checkpoints_in(options),
        validation_count=training_options.validation_count_in(options),
        evaluate_every=training_options.evaluate_every_in(options),
        keep_best=training_options.keeps_best(options),
        early_stopping=training_options.early_stopping_in(options),
        adapter=AdapterShape(rank=row["adapter_rank"], alpha=row["adapter_alpha"]),
        teaches_next_turn=training_options.teaches_next_turn(options),
        imported=imported,
        base_fingerprint=training_options.base_fingerprint_in(options),
        preparation=training_options.preparation_in(options),
        is_prepared=prepared,
        request_details=row["request_details"],
        data_statistics=data_statistics.read(row["data_statistics"]),
        example_count=row["example_count"] if trains else 0,
        seed=row["seed"],
        create_time=row["create_time"],
        start_time=row["start_time"],
        complete_time=row["complete_time"],
        created_by=row["created_by"],
        cancel_requested=row["cancel_requested"],
        attempts=row["attempts"],
        error=None if code is None else JobError(code=_CODES[code], message=row["error_message"]),
        completed_steps=row["completed_steps"],
        last_loss=row["last_loss"],
        best_validation_loss=row["best_validation_loss"],
        project=row["project"],
        location=row["location"],
        findings=None if row["findings"] is None else tuple(map(FindingKind, row["findings"].split())),
    )


def _hyperparameters(row: RowMapping) -> Hyperparameters:
    return Hyperparameters(
        epoch_count=row["epoch_count"],
        batch_size=row["batch_size"],
        learning_rate=row["learning_rate"],
        learning_rate_multiplier=row["learning_rate_multiplier"],
        objective=training_options.objective_in(row["training_options"]),
    )
