"""The probe prompts of jobs, and what was answered before the training and after some steps of it."""

from collections.abc import Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from tuningfork.domain.probe_prompts import ProbeAnswer, Probes
from tuningfork.domain.tuning_job import JobId
from tuningfork.store.probe_tables import probe_answers, probe_prompts


def insert(connection: Connection, job_id: JobId, prompts: Sequence[str]) -> None:
    """Add the prompts of a job, in the transaction that adds the job."""
    row = {"job_id": job_id, "prompts": list(prompts), "closed": False}
    connection.execute(probe_prompts.insert(), row)


def find(connection: Connection, job_id: JobId) -> Probes | None:
    """The prompts of a job and the answers so far; None: it has no prompts."""
    row = connection.execute(select(probe_prompts).where(probe_prompts.c.job_id == job_id)).mappings().first()
    if row is None:
        return None
    query = select(probe_answers).where(probe_answers.c.job_id == job_id)
    query = query.order_by(probe_answers.c.step, probe_answers.c.number)
    answers = tuple(
        ProbeAnswer(
            number=each["number"],
            step=each["step"],
            epoch=each["epoch"],
            output_tokens=each["output_tokens"],
            time=each["answer_time"],
            **each["content"],
        )
        for each in connection.execute(query).mappings()
    )
    return Probes(job_id=job_id, prompts=tuple(row["prompts"]), answers=answers, is_complete=row["closed"])


def open_jobs(connection: Connection, most: int) -> tuple[JobId, ...]:
    """The jobs of which further answers may come, at most so many."""
    query = select(probe_prompts.c.job_id).where(probe_prompts.c.closed.is_(False)).order_by(probe_prompts.c.job_id)
    return tuple(JobId(job_id) for job_id in connection.execute(query.limit(most)).scalars())


def record(connection: Connection, job_id: JobId, answer: ProbeAnswer) -> None:
    """Record an answer, unless there is one already, or the job was deleted."""
    # Taken before the insert: a job that is deleted meanwhile takes its prompts with it.
    held = select(probe_prompts.c.job_id).where(probe_prompts.c.job_id == job_id).with_for_update()
    if connection.execute(held).first() is None:
        return
    row = {
        "job_id": job_id,
        "number": answer.number,
        "step": answer.step,
        "epoch": answer.epoch,
        "content": {"text": answer.text, "cut": answer.cut, "problem": answer.problem},
        "output_tokens": answer.output_tokens,
        "answer_time": answer.time,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(probe_answers).values(**row).on_conflict_do_nothing())


def close(connection: Connection, job_id: JobId) -> None:
    """Note that no further answers will come."""
    connection.execute(probe_prompts.update().where(probe_prompts.c.job_id == job_id).values(closed=True))
