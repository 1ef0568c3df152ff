"""Ends jobs: the states of the job and its model change together, in one transaction, and only once."""

from collections.abc import Sequence
from datetime import datetime

from tuningfork.domain.errors import Code
from tuningfork.domain.findings import Finding
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobError, JobState, TuningJob
from tuningfork.store import evaluations, tuned_models, tuning_jobs
from tuningfork.store.database import Transaction


def succeed(connection: Transaction, job: TuningJob, time: datetime, findings: Sequence[Finding] = ()) -> bool:
    """End a job whose last step is done, and make its model ACTIVE. Returns False if the job has ended before.

    `findings` are recorded with the job and, in words, with the event.
    """
    return _conclude(connection, job, JobState.SUCCEEDED, ModelState.ACTIVE, time, None, findings)


def fail(connection: Transaction, job: TuningJob, time: datetime, error: JobError) -> bool:
    """End a job that cannot go on, and its model, as failed. Returns False if the job has ended before."""
    return _conclude(connection, job, JobState.FAILED, ModelState.FAILED, time, error)


def cancel(
    connection: Transaction, job: TuningJob, time: datetime, findings: Sequence[Finding] = (), *, keeps_adapter: bool
) -> bool:
    """End a job that was stopped on request. Returns False if the job has ended before.

    `keeps_adapter`: the partly trained model becomes ACTIVE and can be called. The job's error has no message, since
    the state of the job and its model say everything. `findings` as in `succeed`.
    """
    state = ModelState.ACTIVE if keeps_adapter else ModelState.FAILED
    error = JobError(code=Code.CANCELLED)
    return _conclude(connection, job, JobState.CANCELLED, state, time, error, findings)


def why_early(connection: Transaction, job: TuningJob) -> str:
    """Where and why a job that has ended well, or is about to, stopped before its last step; "": it did not."""
    if job.early_stopping is None or job.completed_steps >= job.total_steps:
        return ""
    evaluated = evaluations.evaluations_of(connection, job.id)
    return job.early_stopping.in_words(evaluated, job.total_steps) if evaluated else ""


def _conclude(
    connection: Transaction,
    job: TuningJob,
    end: JobState,
    model_state: ModelState,
    time: datetime,
    error: JobError | None,
    findings: Sequence[Finding] = (),
) -> bool:
    told = [error.message] if error and error.message else [finding.description for finding in findings]
    if end is JobState.SUCCEEDED and (why := why_early(connection, job)):
        told.insert(0, why)
    reason = " ".join(told)
    moved = tuning_jobs.move(connection, job.id, end, time, error=error, reason=reason)
    if moved:
        tuned_models.set_state(connection, job.model_id, model_state, time)
        if model_state is ModelState.ACTIVE:
            tuning_jobs.note_findings(connection, job.id, [finding.kind for finding in findings])
    return moved
