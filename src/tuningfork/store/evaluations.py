"""The table of evaluations: the results on a job's validation set after some of its steps."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, select

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuning_job import JobId
from tuningfork.store.schema import evaluations, tuning_jobs


def put_evaluation(connection: Connection, job_id: JobId, evaluation: Evaluation) -> None:
    """Write the evaluation, replacing an earlier one of the same step. The caller holds the job (`leases.hold`)."""
    same_step = evaluations.c.step == evaluation.step
    connection.execute(evaluations.delete().where(evaluations.c.job_id == job_id, same_step))
    row = {
        "job_id": job_id,
        "step": evaluation.step,
        "epoch": evaluation.epoch,
        "mean_loss": evaluation.mean_loss,
        "targets": evaluation.targets,
        "right_targets": evaluation.right_targets,
        "compute_time": evaluation.compute_time,
    }
    connection.execute(evaluations.insert(), row)
    _note_best(connection, job_id)


def add_missing_evaluations(connection: Connection, job_id: JobId, known: Collection[Evaluation]) -> None:
    """Add those of these evaluations whose step has none yet. The caller holds the job (`leases.hold`)."""
    steps = set(connection.execute(select(evaluations.c.step).where(evaluations.c.job_id == job_id)).scalars())
    for each in known:
        if each.step not in steps:
            put_evaluation(connection, job_id, each)


def evaluations_of(
    connection: Connection, job_id: JobId, *, after_step: int = -1, most: int | None = None
) -> tuple[Evaluation, ...]:
    """The evaluations of a job after this step (-1: all), in the order of their steps.

    `most` is how many are read at most; None: all.
    """
    query = select(evaluations).where(evaluations.c.job_id == job_id, evaluations.c.step > after_step)
    return _read(connection, query.order_by(evaluations.c.step).limit(most))


def evaluations_at(connection: Connection, job_id: JobId, steps: Collection[int]) -> Mapping[int, Evaluation]:
    """The evaluations of a job after these steps, by step; steps without one are left out."""
    query = select(evaluations).where(evaluations.c.job_id == job_id, evaluations.c.step.in_(steps))
    return {each.step: each for each in _read(connection, query)}


def best_evaluation(connection: Connection, job_id: JobId) -> Evaluation | None:
    """The evaluation of a job with the lowest loss, of equal ones the earliest; None if there are none."""
    query = select(evaluations).where(evaluations.c.job_id == job_id)
    return next(iter(_read(connection, query.order_by(evaluations.c.mean_loss, evaluations.c.step).limit(1))), None)


def latest_evaluation(connection: Connection, job_id: JobId) -> Evaluation | None:
    """The last evaluation of a job; None if there are none."""
    query = select(evaluations).where(evaluations.c.job_id == job_id).order_by(evaluations.c.step.desc())
    return next(iter(_read(connection, query.limit(1))), None)


def drop_evaluations(connection: Connection, job_id: JobId, *, after_step: int) -> None:
    """Remove the evaluations of steps after this one, which a resumed job will repeat."""
    later = evaluations.c.step > after_step
    connection.execute(evaluations.delete().where(evaluations.c.job_id == job_id, later))
    _note_best(connection, job_id)


def _note_best(connection: Connection, job_id: JobId) -> None:
    """Set the job's lowest validation loss to that of its evaluations."""
    lowest = select(func.min(evaluations.c.mean_loss)).where(evaluations.c.job_id == job_id).scalar_subquery()
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id)
    connection.execute(change.values(best_validation_loss=lowest))


def _read(connection: Connection, query: Select[Any]) -> tuple[Evaluation, ...]:
    return tuple(
        Evaluation(
            step=row["step"],
            epoch=row["epoch"],
            mean_loss=row["mean_loss"],
            targets=row["targets"],
            right_targets=row["right_targets"],
            compute_time=row["compute_time"],
        )
        for row in connection.execute(query).mappings()
    )
