"""The parts of a model's page that are lists: checkpoints, settings, events, statistics of the data, findings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.view.job_words import loss, short_base

_COUNTS = ("exampleCount", "validationExampleCount", "characterCount", "tokenCount", "droppedExampleCount")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights of some step that the model can answer with."""

    number: int
    step: int
    epoch: int
    loss: str
    validation_loss: str
    is_default: bool
    is_best: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it was used."""

    label: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the job."""

    time: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed, in the words of the server."""

    message: str
    cause: str
    fix: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the losses give reason to warn of, in the words of the server."""

    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class ModelReport:
    """All lists of the page."""

    checkpoints: tuple[Checkpoint, ...]
    settings: tuple[Setting, ...]
    events: tuple[Event, ...]
    data: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    failure: Failure | None

    @classmethod
    def of(cls, job: Mapping[str, Any], kept: Mapping[str, Any], texts: Texts) -> "ModelReport":
        """From the API's answers about the job and its checkpoints."""
        failure = job.get("failure")
        return cls(
            checkpoints=_checkpoints(job, kept, texts),
            settings=tuple(_setting(each, texts) for each in job.get("settings", ())),
            events=tuple(_event(each, texts) for each in job.get("events", ())),
            data=_data(job, texts),
            findings=tuple(
                Finding(str(each.get("description", "")), str(each.get("advice", "")))
                for each in job.get("findings", ())
            ),
            failure=failure and Failure(*(str(failure.get(name, "")) for name in ("message", "cause", "fix"))),
        )


def _checkpoints(job: Mapping[str, Any], kept: Mapping[str, Any], texts: Texts) -> tuple[Checkpoint, ...]:
    best = job.get("bestValidation", {}).get("step")
    return tuple(
        Checkpoint(
            number=int(each.get("number", 0)),
            step=int(each.get("step", 0)),
            epoch=int(each.get("epoch", 0)),
            loss=loss(each.get("meanLoss"), texts),
            validation_loss=loss(each.get("evaluation", {}).get("meanLoss"), texts),
            is_default=bool(each.get("default")),
            is_best=best is not None and each.get("step") == best,
        )
        for each in kept.get("checkpoints", ())
    )


def _setting(setting: Mapping[str, Any], texts: Texts) -> Setting:
    name, value = str(setting.get("name", "")), setting.get("value", "")
    text_id = f"setting.{_snake(name)}"
    return Setting(
        label=texts(text_id) if texts.has(text_id) else name,
        value=_written(value, texts),
        is_default=bool(setting.get("default")),
    )


def _written(value: object, texts: Texts) -> str:
    """A value of JSON, which the API writes as text, as a person writes it."""
    text = str(value)
    if text in {"true", "True", "false", "False"}:
        return texts("setting.yes" if text.lower() == "true" else "setting.no")
    try:
        return texts.formats.setting(float(text))
    except (ValueError, OverflowError):
        return short_base(text.strip('"'))


def _event(event: Mapping[str, Any], texts: Texts) -> Event:
    kind = str(event.get("kind", ""))
    text_id = f"event.{kind.lower()}"
    named = texts(text_id, step=int(event.get("step", 0))) if texts.has(text_id) else ""
    return Event(str(event.get("time", "")), kind, named or str(event.get("message", "")))


def _data(job: Mapping[str, Any], texts: Texts) -> tuple[tuple[str, str], ...]:
    counts = job.get("data", {})
    return tuple(
        (texts(f"model.data.{_snake(name)}"), texts.formats.number(float(counts[name])))
        for name in _COUNTS
        if name in counts
    )


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
