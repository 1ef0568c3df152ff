"""Why tuning jobs fail: recognises a job's error, and says its cause and what to do about it.

The messages of errors are sentences. Those that this module recognises begin with texts that are defined here.
"""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.errors import Code
from tuningfork.domain.tuning_job import JobError, TuningJob

DIVERGED = "the training diverged at step"
"""Begins the error of a job whose loss is no finite number any more."""
DAMAGED_WEIGHTS = "the loss of the first step is"
"""Begins the error of a job whose first loss is no finite number."""
DEAD_TRAINERS = "The trainer ended unexpectedly"
"""Begins the error of a job whose trainers have died again and again."""


class FailureKind(StrEnum):
    """Why a job has failed."""

    DIVERGED = "DIVERGED"
    """The loss became infinite or NaN."""
    DAMAGED_WEIGHTS = "DAMAGED_WEIGHTS"
    """The loss was no finite number before any weight was changed."""
    DEAD_TRAINERS = "DEAD_TRAINERS"
    """Trainers died while they trained the job."""
    UNUSABLE_DATA = "UNUSABLE_DATA"
    """The examples could not be read or used."""
    OTHER = "OTHER"
    """Whatever only the message tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job has failed. `cause` and `fix` are sentences for its owner; "": only `message` tells.

    `learning_rate` and `batch_size` are what to try instead; None: they are not the cause.
    """

    kind: FailureKind
    code: Code
    message: str
    cause: str = ""
    fix: str = ""
    learning_rate: float | None = None
    batch_size: int | None = None


def failure_of(job: TuningJob, error: JobError) -> Failure:
    """Why a job has failed that ended with this error."""
    kind = _kind_of(job, error)
    match kind:
        case FailureKind.DIVERGED:
            rate = job.hyperparameters.learning_rate
            return Failure(
                kind=kind,
                code=error.code,
                message=error.message,
                cause=f"The learning rate {rate:g} is too high for this data.",
                fix=f"Tune again with a learning rate of {rate / 10:g}.",
                learning_rate=rate / 10,
            )
        case FailureKind.DAMAGED_WEIGHTS:
            cause = "The weights of the base model, or of the tuned model that the job went on from, are damaged."
            fix = "Fetch the base model again, or tune from another model."
        case FailureKind.DEAD_TRAINERS:
            return _of_dead_trainers(job, error)
        case FailureKind.UNUSABLE_DATA:
            cause = "The examples could not be used."
            fix = "Correct the examples that the message names, and tune again."
        case FailureKind.OTHER:
            cause = fix = ""
    return Failure(kind=kind, code=error.code, message=error.message, cause=cause, fix=fix)


def _of_dead_trainers(job: TuningJob, error: JobError) -> Failure:
    size = job.hyperparameters.batch_size
    smaller = size // 2 if size > 1 else None
    fix = "Tune again with shorter examples." if smaller is None else f"Tune again with batches of {smaller}."
    return Failure(
        kind=FailureKind.DEAD_TRAINERS,
        code=error.code,
        message=error.message,
        cause="The trainer's process ended again and again while it trained this job, most often for lack of memory.",
        fix=fix,
        batch_size=smaller,
    )


def _kind_of(job: TuningJob, error: JobError) -> FailureKind:
    for kind, beginning in (
        (FailureKind.DIVERGED, DIVERGED),
        (FailureKind.DAMAGED_WEIGHTS, DAMAGED_WEIGHTS),
        (FailureKind.DEAD_TRAINERS, DEAD_TRAINERS),
    ):
        if error.message.startswith(beginning):
            return kind
    # What a trainer refuses as invalid is an example. A job that is not prepared has failed in its preparation.
    return (
        FailureKind.UNUSABLE_DATA if error.code is Code.INVALID_ARGUMENT or not job.is_prepared else FailureKind.OTHER
    )
