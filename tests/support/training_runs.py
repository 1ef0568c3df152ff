"""Jobs for the training engine, and running them to their end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.objective import CrossEntropy
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.device.capture import Capture
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.engine import StepReport, TrainingEngine, TrainingJob

NUMBERS = tuple(
    Conversation.pair(given, wanted)
    for given, wanted in (
        ("1", "2"),
        ("three", "four"),
        ("-98", "-97"),
        ("two hundred", "two hundred one"),
        ("10,100,000", "10,100,001"),
        ("eighty", "eighty one"),
        ("七", "八"),
    )
)
LETTERS = tuple(Conversation.pair(f"after {letter}?", chr(ord(letter) + 1) * 3) for letter in "abcde")


def preference(given: str, chosen: str, rejected: str) -> Preference:
    prompt = Conversation(turns=(Turn.said(Speaker.USER, given),))
    return Preference(prompt=prompt, chosen=(chosen,), rejected=(rejected,))


@dataclass
class Clock:
    """Each look at it is a second later."""

    now: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    step: timedelta = field(default=timedelta(seconds=1))

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


def job(name: str = "job", **different) -> TrainingJob:
    settings = {"epoch_count": 2, "batch_size": 3, "learning_rate": 0.01, "objective": CrossEntropy()}
    settings |= {key: different.pop(key) for key in list(different) if key in settings}
    fields = {"examples": NUMBERS, "adapter": AdapterShape(rank=4, alpha=16.0), "seed": 7} | different
    return TrainingJob(id=JobId(name), hyperparameters=Hyperparameters(**settings), **fields)


def engine_over(
    base: LoadedBase,
    max_jobs_per_step: int = 1,
    capture: Capture | None = None,
    monotonic: Callable[[], float] | None = None,
) -> TrainingEngine:
    return TrainingEngine(
        base, clock=Clock(), max_jobs_per_step=max_jobs_per_step, capture=capture, monotonic=monotonic
    )


def run_to_the_end(engine: TrainingEngine, after_each: Callable[[StepReport], None] | None = None) -> list[StepReport]:
    """Every report of every job, in order."""
    reports = []
    while stepped := engine.step():
        for report in stepped:
            reports.append(report)
            if after_each:
                after_each(report)
    return reports


def curve(reports: list[StepReport], name: str = "job") -> list[float]:
    """The mean losses of one job."""
    return [report.snapshot.mean_loss for report in reports if report.job_id == name]


def weights_of(engine: TrainingEngine, name: str = "job"):
    """The fp32 weights of an admitted job, as one vector."""
    return engine._jobs[JobId(name)].weights_P.clone()
