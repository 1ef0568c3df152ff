"""What a tuning job is doing, in words: a badge, a sentence, and how far it is.

Takes the API's answers, one row of the list of tuned models or one whole job, which share their names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.texts.formats import parse_time

Job = Mapping[str, Any]

STALLED = timedelta(seconds=40)
"""Without a report for so long, a trainer may have stopped."""


class Tone(StrEnum):
    """The kind of a badge. Its words say the same."""

    READY = "ready"
    BUSY = "busy"
    WAITING = "waiting"
    BAD = "bad"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in a word or two."""

    text: str
    tone: Tone


def is_running(job: Job) -> bool:
    """Whether the job is waiting, or at work."""
    return job.get("state") in {"PREPARING", "QUEUED", "RUNNING"}


def share_done(job: Job) -> float | None:
    """How much of the steps is done, from 0 to 1; None: no steps are known yet."""
    total = int(job.get("totalSteps", 0))
    return min(1.0, int(job.get("step", 0)) / total) if total else None


def badge(job: Job, texts: Texts, now: datetime) -> Badge:
    """The state in a word or two."""
    state = job.get("state", "")
    if state == "RUNNING":
        return _running_badge(job, texts, now)
    if state == "QUEUED":
        place = job.get("queue", {}).get("position")
        text = texts("state.badge.queued") if place is None else texts("state.badge.queued_at", place=int(place))
        return Badge(text, Tone.WAITING)
    known = {
        "PREPARING": ("preparing", Tone.WAITING),
        "SUCCEEDED": ("ready", Tone.READY),
        "FAILED": ("failed", Tone.BAD),
        "CANCELLED": ("stopped", Tone.GONE),
    }
    name, tone = known.get(state, ("unknown", Tone.GONE))
    return Badge(texts(f"state.badge.{name}"), tone)


def _running_badge(job: Job, texts: Texts, now: datetime) -> Badge:
    if job.get("cancelRequested"):
        return Badge(texts("state.badge.stopping"), Tone.BUSY)
    silent = silence(job, now)
    if silent is not None:
        return Badge(texts("state.badge.stalled", duration=texts.formats.duration(silent.total_seconds())), Tone.BAD)
    if job.get("phase") != "TRAINING":
        return Badge(texts("state.badge.starting"), Tone.BUSY)
    done = share_done(job)
    if done is None or done >= 1:
        return Badge(texts("state.badge.finishing"), Tone.BUSY)
    return Badge(texts("state.badge.training", percent=texts.formats.percent(done)), Tone.BUSY)


def silence(job: Job, now: datetime) -> timedelta | None:
    """For how long a training job has reported nothing, if that is longer than usual; None: it is not."""
    told = job.get("lastReportTime")
    if job.get("state") != "RUNNING" or job.get("phase") != "TRAINING" or told is None:
        return None
    passed = now - parse_time(told)
    return passed if passed >= STALLED else None


def sentence(job: Job, texts: Texts, now: datetime) -> str:
    """What the job is doing, or what became of it."""
    sayers: dict[str, Callable[[], str]] = {
        "PREPARING": lambda: texts("state.preparing"),
        "QUEUED": lambda: _queued(job, texts, now),
        "RUNNING": lambda: _running(job, texts, now),
        "SUCCEEDED": lambda: _succeeded(job, texts),
        "FAILED": lambda: _failed(job, texts),
        "CANCELLED": lambda: _cancelled(job, texts),
    }
    say = sayers.get(str(job.get("state", "")))
    return "" if say is None else say()


def _queued(job: Job, texts: Texts, now: datetime) -> str:
    ahead = job.get("queue", {}).get("jobsAhead", 0)
    first = texts("state.queued", count=int(ahead)) if ahead else texts("state.next")
    starts = job.get("estimatedStartTime")
    if starts is None:
        return first
    seconds = max(1.0, (parse_time(starts) - now).total_seconds())
    return f"{first} {texts('state.starts_in', duration=texts.formats.duration(seconds))}"


def _running(job: Job, texts: Texts, now: datetime) -> str:
    step = int(job.get("step", 0))
    if job.get("cancelRequested"):
        return texts("state.stopping", step=step)
    if silence(job, now) is not None:
        return texts("state.stalled", step=step)
    match job.get("phase", ""):
        case "LOADING_BASE":
            return texts("state.loading", base=short_base(str(job.get("baseModel", ""))))
        case "HELD_UP":
            return texts("state.held_up", reason=str(job.get("heldUpBy", "")))
        case "TRAINING" if "totalSteps" in job:
            return _training(job, texts, step, int(job["totalSteps"]))
        case _:
            return texts("state.starting")


def _training(job: Job, texts: Texts, step: int, total: int) -> str:
    epochs = int(job.get("epochCount", 0))
    if step >= total:
        return texts("state.finishing")
    where = (
        texts("state.training", step=step, total=total, epoch=min(int(job.get("epoch", 0)) + 1, epochs), epochs=epochs)
        if epochs
        else texts("state.training_steps", step=step, total=total)
    )
    left = job.get("secondsLeft")
    if left is None:
        return where
    return f"{where} {texts('state.time_left', duration=texts.formats.duration(max(1, round(float(left)))))}"


def _succeeded(job: Job, texts: Texts) -> str:
    if job.get("imported"):
        return texts("state.imported")
    began, ended = job.get("startTime"), job.get("completeTime")
    if began is None or ended is None:
        ready = texts("state.ready")
    else:
        seconds = (parse_time(ended) - parse_time(began)).total_seconds()
        ready = texts("state.ready_after", duration=texts.formats.duration(seconds))
    best = job.get("bestValidation")
    if best is not None:
        found = {"loss": loss(best.get("meanLoss"), texts), "step": int(best.get("step", 0))}
        return f"{ready} {texts('state.best_validation', **found)}"
    last = job.get("lastTrainingLoss")
    return ready if last is None else f"{ready} {texts('state.last_loss', loss=loss(last, texts))}"


def _failed(job: Job, texts: Texts) -> str:
    return texts("state.failed_at", step=int(job["step"])) if job.get("step") else texts("state.failed")


def _cancelled(job: Job, texts: Texts) -> str:
    step, total = int(job.get("step", 0)), int(job.get("totalSteps", 0))
    if not step:
        return texts("state.stopped_early")
    return texts("state.stopped_kept" if job.get("callable") else "state.stopped_lost", step=step, total=total)


def loss(value: object, texts: Texts) -> str:
    """A loss as the API writes it: a number, or the name of one that is not finite."""
    return texts.formats.loss(float(value)) if isinstance(value, int | float | str) else ""


def short_base(name: str) -> str:
    """The name of a base model without its collection."""
    return name.removeprefix("models/")


def model_id(name: str) -> str:
    """The id in the name of a tuned model."""
    return name.removeprefix("tunedModels/")
