"""Rows of tuning jobs and their snapshots, and the one place where a job's state changes.

Every change goes through `move`, which holds to the transition table, notes an event, and has one winner when several
try at a time.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, literal, select
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.errors import RpcCode
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import TRANSITIONS, JobError, JobId, JobState, Snapshot, TuningJob
from tuningfork.store.database import hold_word, is_duplicate
from tuningfork.store.schema import UtcDateTime, job_events, snapshots, tuning_jobs
from tuningfork.store.tuned_models import IdTaken


def insert(connection: Connection, job: TuningJob) -> None:
    """Add a job, which has no snapshots yet.

    Raises:
        IdTaken: there is one of this id.

    """
    row = {
        "id": job.id,
        "model_id": job.model_id,
        "base_model": job.base_model,
        "state": job.state.value,
        "cancel_requested": job.cancel_requested,
        "attempts": job.attempts,
        "furthest_step": 0,
        "epoch_count": job.hyperparameters.epoch_count,
        "batch_size": job.hyperparameters.batch_size,
        "learning_rate": job.hyperparameters.learning_rate,
        "learning_rate_multiplier": job.hyperparameters.learning_rate_multiplier,
        "adapter_rank": job.adapter.rank,
        "adapter_alpha": job.adapter.alpha,
        "example_count": job.example_count,
        "seed": job.seed,
        "create_time": job.create_time,
        "created_by": job.created_by,
    }
    try:
        connection.execute(tuning_jobs.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error, "tuning_jobs"):
            raise IdTaken(job.id) from error
        raise


def find(connection: Connection, job_id: JobId) -> TuningJob | None:
    """The job of this id with its snapshots, or None."""
    row = connection.execute(select(tuning_jobs).where(tuning_jobs.c.id == job_id)).mappings().first()
    return None if row is None else _job(row, _snapshots_of(connection, [job_id]).get(job_id, ()))


def hold(connection: Connection, job_id: JobId) -> None:
    """Let nobody else change the job until this transaction ends, so that what is read of it now stays true.

    For PostgreSQL, where writers run side by side; on SQLite there is only ever one.
    """
    connection.execute(select(tuning_jobs.c.id).where(tuning_jobs.c.id == job_id).with_for_update())


def hold_of_model(connection: Connection, model_id: TunedModelId) -> None:
    """As `hold`, for the job of this model, if there is one."""
    connection.execute(select(tuning_jobs.c.id).where(tuning_jobs.c.model_id == model_id).with_for_update())


def id_of_model(connection: Connection, model_id: TunedModelId) -> JobId:
    """The job of a model that exists."""
    query = select(tuning_jobs.c.id).where(tuning_jobs.c.model_id == model_id)
    return JobId(connection.execute(query).scalar_one())


def of_models(connection: Connection, model_ids: Collection[TunedModelId]) -> Mapping[TunedModelId, TuningJob]:
    """The job of each of these models, with its snapshots."""
    rows = connection.execute(select(tuning_jobs).where(tuning_jobs.c.model_id.in_(model_ids))).mappings().all()
    taken = _snapshots_of(connection, [JobId(row["id"]) for row in rows])
    return {TunedModelId(row["model_id"]): _job(row, taken.get(JobId(row["id"]), ())) for row in rows}


def oldest_queued(connection: Connection, base_models: Collection[BaseModelName]) -> TuningJob | None:
    """The job over one of these bases that has waited longest, held for this transaction; None if none waits.

    Where several claim at a time (PostgreSQL), each sees another one.
    """
    query = select(tuning_jobs).where(
        tuning_jobs.c.state == JobState.QUEUED.value, tuning_jobs.c.base_model.in_(base_models)
    )
    query = query.order_by(tuning_jobs.c.create_time, tuning_jobs.c.id).limit(1).with_for_update(skip_locked=True)
    row = connection.execute(query).mappings().first()
    return None if row is None else _job(row, _snapshots_of(connection, [JobId(row["id"])]).get(JobId(row["id"]), ()))


def ids_in_state(connection: Connection, state: JobState) -> list[JobId]:
    """The jobs in this state, the oldest first."""
    query = select(tuning_jobs.c.id).where(tuning_jobs.c.state == state.value)
    return [JobId(row.id) for row in connection.execute(query.order_by(tuning_jobs.c.create_time, tuning_jobs.c.id))]


def queued_without(connection: Connection, base_models: Collection[BaseModelName]) -> list[TuningJob]:
    """The waiting jobs that are over none of these bases, the oldest first, without their snapshots."""
    query = select(tuning_jobs).where(
        tuning_jobs.c.state == JobState.QUEUED.value, tuning_jobs.c.base_model.not_in(base_models)
    )
    rows = connection.execute(query.order_by(tuning_jobs.c.create_time, tuning_jobs.c.id)).mappings()
    return [_job(row, ()) for row in rows]


def all_ids(connection: Connection) -> set[JobId]:
    """Every job there is."""
    return {JobId(row.id) for row in connection.execute(select(tuning_jobs.c.id))}


def wanted_ids(connection: Connection, job_ids: Collection[JobId]) -> set[JobId]:
    """Those of these jobs that still exist and that nobody wants cancelled."""
    query = select(tuning_jobs.c.id).where(tuning_jobs.c.id.in_(job_ids), ~tuning_jobs.c.cancel_requested)
    return {JobId(row.id) for row in connection.execute(query)}


def count_by_state(connection: Connection) -> dict[JobState, int]:
    """How many jobs are in each state, states without any included."""
    query = select(tuning_jobs.c.state, func.count()).group_by(tuning_jobs.c.state)
    counted = {JobState(state): count for state, count in connection.execute(query)}
    return {state: counted.get(state, 0) for state in JobState}


def count_unfinished(connection: Connection, created_by: str) -> int:
    """How many jobs of this credential wait or run, counted by one transaction at a time."""
    hold_word(connection, f"jobs of {created_by}")
    unfinished = [state.value for state in JobState if not state.is_final]
    query = select(func.count()).where(tuning_jobs.c.created_by == created_by, tuning_jobs.c.state.in_(unfinished))
    return connection.execute(query).scalar_one()


def count_queued(connection: Connection) -> int:
    """How many jobs wait."""
    query = select(func.count()).select_from(tuning_jobs).where(tuning_jobs.c.state == JobState.QUEUED.value)
    return connection.execute(query).scalar_one()


def move(
    connection: Connection,
    job_id: JobId,
    target: JobState,
    time: datetime,
    *,
    error: JobError | None = None,
    reason: str = "",
) -> bool:
    """Change the job's state, if its present state allows that; what else follows from the state is set with it.

    Args:
        connection: the transaction.
        job_id: the job.
        target: where to; a final state sets the time of completion, `running` that of the first start.
        time: when.
        error: why, for the owner; required for failed and cancelled jobs, refused by the table for others.
        reason: why, for the event.

    Returns:
        Whether it was changed. False: the job is gone, or another was quicker.

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
        values |= {"error_code": int(error.code), "error_message": error.message}
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, tuning_jobs.c.state == source)
    if connection.execute(change.values(values)).rowcount == 0:
        return False
    event = {"job_id": job_id, "from_state": source, "to_state": target.value, "time": time, "reason": reason}
    connection.execute(job_events.insert(), event)
    return True


def forget_attempt(connection: Connection, job_id: JobId) -> None:
    """Take back one attempt, which ended for a reason that was not the job's."""
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, tuning_jobs.c.attempts > 0)
    connection.execute(change.values(attempts=tuning_jobs.c.attempts - 1))


def request_cancel(connection: Connection, job_id: JobId) -> None:
    """Note the wish that the job stops; one that has ended stays as it is."""
    unfinished = tuning_jobs.c.complete_time.is_(None)
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id, unfinished)
    connection.execute(change.values(cancel_requested=True))


def append_snapshot(connection: Connection, job_id: JobId, snapshot: Snapshot) -> bool | None:
    """Add what a running job's next step showed. A step beyond the furthest so far clears the count of attempts.

    Returns:
        Whether somebody wants the job cancelled; None, and nothing is written, if it is gone or not running.

    """
    running = select(tuning_jobs.c.furthest_step, tuning_jobs.c.cancel_requested).where(
        tuning_jobs.c.id == job_id, tuning_jobs.c.state == JobState.RUNNING.value
    )
    row = connection.execute(running.with_for_update()).first()
    if row is None:
        return None
    connection.execute(snapshots.insert(), _snapshot_row(job_id, snapshot))
    if snapshot.step > row.furthest_step:
        progress = tuning_jobs.update().where(tuning_jobs.c.id == job_id)
        connection.execute(progress.values(furthest_step=snapshot.step, attempts=0))
    return bool(row.cancel_requested)


def drop_snapshots(connection: Connection, job_id: JobId, *, after_step: int) -> None:
    """Remove the snapshots of later steps."""
    connection.execute(snapshots.delete().where(snapshots.c.job_id == job_id, snapshots.c.step > after_step))


def add_missing_snapshots(connection: Connection, job_id: JobId, known: Collection[Snapshot]) -> None:
    """Add those of these snapshots whose step has none yet."""
    steps = set(connection.execute(select(snapshots.c.step).where(snapshots.c.job_id == job_id)).scalars())
    missing = [_snapshot_row(job_id, snapshot) for snapshot in known if snapshot.step not in steps]
    if missing:
        connection.execute(snapshots.insert(), missing)


def _snapshot_row(job_id: JobId, snapshot: Snapshot) -> dict[str, object]:
    return {
        "job_id": job_id,
        "step": snapshot.step,
        "epoch": snapshot.epoch,
        "mean_loss": snapshot.mean_loss,
        "compute_time": snapshot.compute_time,
    }


def _snapshots_of(connection: Connection, job_ids: Collection[JobId]) -> dict[JobId, tuple[Snapshot, ...]]:
    query = select(snapshots).where(snapshots.c.job_id.in_(job_ids)).order_by(snapshots.c.job_id, snapshots.c.step)
    found: dict[JobId, list[Snapshot]] = {}
    for job_id, step, epoch, mean_loss, compute_time in connection.execute(query):
        snapshot = Snapshot(step=step, epoch=epoch, mean_loss=mean_loss, compute_time=compute_time)
        found.setdefault(JobId(job_id), []).append(snapshot)
    return {job_id: tuple(taken) for job_id, taken in found.items()}


def _job(row: RowMapping, taken: tuple[Snapshot, ...]) -> TuningJob:
    code = row["error_code"]
    return TuningJob(
        id=JobId(row["id"]),
        model_id=TunedModelId(row["model_id"]),
        base_model=BaseModelName(row["base_model"]),
        state=JobState(row["state"]),
        hyperparameters=Hyperparameters(
            epoch_count=row["epoch_count"],
            batch_size=row["batch_size"],
            learning_rate=row["learning_rate"],
            learning_rate_multiplier=row["learning_rate_multiplier"],
        ),
        adapter=AdapterShape(rank=row["adapter_rank"], alpha=row["adapter_alpha"]),
        example_count=row["example_count"],
        seed=row["seed"],
        create_time=row["create_time"],
        start_time=row["start_time"],
        complete_time=row["complete_time"],
        created_by=row["created_by"],
        cancel_requested=row["cancel_requested"],
        attempts=row["attempts"],
        error=None if code is None else JobError(code=RpcCode(code), message=row["error_message"]),
        snapshots=taken,
    )
