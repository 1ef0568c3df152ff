"""What the engine reports of its jobs: steps and evaluations, and the errors that end a job."""

from dataclasses import dataclass

from tuningfork.domain.errors import FailedPrecondition, FieldViolation, InternalError, InvalidArgument
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.failure import DAMAGED_WEIGHTS, DIVERGED
from tuningfork.domain.tuning_job import JobId, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One job's step. `tokens` counts all tokens of its batch; `done` says that no step or evaluation is left."""

    job_id: JobId
    snapshot: Snapshot
    tokens: int
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """One job's evaluation after a step; `done` as in `StepReport`."""

    job_id: JobId
    evaluation: Evaluation
    done: bool


Report = StepReport | EvaluationReport


class ExamplesRefused(InvalidArgument):
    """Examples of an admitted job cannot be used; `violations` names each (`examples[3]`)."""

    def __init__(self, job_id: JobId, message: str, violations: tuple[FieldViolation, ...]) -> None:
        super().__init__(message, violations=violations)
        self.job_id = job_id
        self._given = (job_id, message, violations)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._given


class ExamplesUnrendered(InternalError):
    """Examples of an admitted job could not be rendered, which is not their fault; the job has not changed."""

    def __init__(self, job_id: JobId, message: str) -> None:
        super().__init__(message)
        self.job_id = job_id
        self._given = (job_id, message)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._given


class WeightsNotFinite(FailedPrecondition):
    """A job's first loss or gradient is not a finite number, before any weight was changed."""

    def __init__(self, job_id: JobId, loss: float) -> None:
        super().__init__(
            f"{DAMAGED_WEIGHTS} {loss}, or its gradient is not finite, before anything was changed. So "
            "the learning rate is not the cause: the weights of the base model, or of the tuned model that this job "
            "goes on from, are damaged"
        )
        self.job_id = job_id
        self._given = (job_id, loss)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._given


class TrainingDiverged(InvalidArgument):
    """A job's loss or gradient is no longer a finite number."""

    def __init__(self, job_id: JobId, step: int, loss: float, learning_rate: float) -> None:
        reason = (
            f"{DIVERGED} {step}: its loss is {loss} or its gradient is not finite. The learning "
            f"rate {learning_rate:g} is too high for this data; try {learning_rate / 10:g}"
        )
        super().__init__(
            reason, violations=(FieldViolation(field="hyperparameters.learning_rate", description=reason),)
        )
        self.job_id = job_id
        self._given = (job_id, step, loss, learning_rate)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._given


def not_finite(
    job_id: JobId, step: int, loss: float, learning_rate: float, completed: int
) -> TrainingDiverged | WeightsNotFinite:
    """The error of a job whose loss or gradient is not a finite number.

    `completed`: the job's completed steps. An evaluation after the first step follows its update, which is then the
    cause; before it nothing was changed.
    """
    return TrainingDiverged(job_id, step, loss, learning_rate) if completed else WeightsNotFinite(job_id, loss)
