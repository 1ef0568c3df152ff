"""The error message for the owner of a job that makes trainers die."""

from tuningfork.domain.failure import DEAD_TRAINERS
from tuningfork.domain.tuning_job import TuningJob


def blame(job: TuningJob, reason: str) -> str:
    """The message of a job that failed because trainers died while they trained only this job.

    `reason` says how the last trainer died.
    """
    return (
        f"{DEAD_TRAINERS} {job.attempts} times in a row while it was training this job alone, without "
        f"completing a further step; the job had completed {job.completed_steps} of {job.total_steps}. The last time: "
        f"{reason or 'no more is known'}. Where memory was the reason, a smaller batch size or shorter examples need "
        "less."
    )
