"""How a job ends: the job and its model change together, in one transaction, and only once."""

from datetime import datetime

from tuningfork.domain.errors import RpcCode
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobError, JobState, TuningJob
from tuningfork.store import tuned_models, tuning_jobs
from tuningfork.store.database import Transaction


def succeed(connection: Transaction, job: TuningJob, time: datetime) -> bool:
    """The last step is done: the model can be called. Returns False if the job has ended before."""
    return _conclude(connection, job, JobState.SUCCEEDED, ModelState.ACTIVE, time, None)


def fail(connection: Transaction, job: TuningJob, time: datetime, error: JobError) -> bool:
    """The job cannot go on. Returns False if it has ended before."""
    return _conclude(connection, job, JobState.FAILED, ModelState.FAILED, time, error)


def cancel(connection: Transaction, job: TuningJob, time: datetime, *, keeps_adapter: bool) -> bool:
    """The job stopped on request; with an adapter its model can be called. Returns False if it has ended before.

    A partly trained model stays callable: gemini-api, "States over time". The code is 1, by which clients know a
    cancelled operation.
    """
    progress = f"The tuning job was cancelled after {job.completed_steps} of {job.total_steps} steps"
    kept = f"tunedModels/{job.model_id} answers with the weights of that step"
    message = f"{progress}; {kept}." if keeps_adapter else f"{progress}; there are no weights to answer with."
    state = ModelState.ACTIVE if keeps_adapter else ModelState.FAILED
    error = JobError(code=RpcCode.CANCELLED, message=message)
    return _conclude(connection, job, JobState.CANCELLED, state, time, error)


def _conclude(
    connection: Transaction,
    job: TuningJob,
    end: JobState,
    model_state: ModelState,
    time: datetime,
    error: JobError | None,
) -> bool:
    reason = error.message if error else ""
    moved = tuning_jobs.move(connection, job.id, end, time, error=error, reason=reason)
    if moved:
        tuned_models.set_state(connection, job.model_id, model_state, time)
    return moved
