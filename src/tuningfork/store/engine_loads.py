"""What there is for engines to do: jobs in training, and jobs by owner."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, and_, case, func, select

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.engine_report import JobInTraining, OwnersJobs
from tuningfork.domain.hyperparameters import total_steps_of
from tuningfork.domain.permission import Email, Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store.schema import permissions, tuning_jobs

_MOST_OWNERS = 1_000
_IS_OWNER = and_(permissions.c.model_id == tuning_jobs.c.model_id, permissions.c.role == Role.OWNER.value)


def in_training(connection: Connection) -> tuple[JobInTraining, ...]:
    """The jobs in training, of all servers, the oldest first."""
    columns = tuning_jobs.c
    sizes = (columns.example_count, columns.epoch_count, columns.batch_size)
    base = func.coalesce(columns.resolved_base, columns.base_model)
    query = select(columns.model_id, base, permissions.c.email, columns.completed_steps, *sizes)
    query = query.select_from(tuning_jobs.outerjoin(permissions, _IS_OWNER))
    query = query.where(columns.state == JobState.RUNNING.value).order_by(columns.create_time, columns.id)
    return tuple(
        JobInTraining(
            model_id=TunedModelId(model_id),
            base=BaseModelName(base_name),
            owner=Email(owner or ""),
            completed_steps=completed,
            total_steps=total_steps_of(*found),
        )
        for model_id, base_name, owner, completed, *found in connection.execute(query)
    )


def jobs_by_owner(connection: Connection) -> tuple[OwnersJobs, ...]:
    """The owners with jobs that wait or are in training, those with the most first."""
    state, email = tuning_jobs.c.state, func.coalesce(permissions.c.email, "")
    is_running = state == JobState.RUNNING.value
    running = func.sum(case((is_running, 1), else_=0))
    unfinished = [each.value for each in JobState if not each.is_final]
    query = select(email, func.count(), running).select_from(tuning_jobs.outerjoin(permissions, _IS_OWNER))
    query = query.where(state.in_(unfinished)).group_by(email).order_by(func.count().desc(), email)
    return tuple(
        OwnersJobs(owner=Email(owner), waiting=count - training, running=training)
        for owner, count, training in connection.execute(query.limit(_MOST_OWNERS))
    )


def models_of(connection: Connection, job_ids: Collection[JobId]) -> Mapping[JobId, TunedModelId]:
    """The model of each of these jobs; jobs that do not exist are left out."""
    query = select(tuning_jobs.c.id, tuning_jobs.c.model_id).where(tuning_jobs.c.id.in_(job_ids))
    return {JobId(row.id): TunedModelId(row.model_id) for row in connection.execute(query)}
