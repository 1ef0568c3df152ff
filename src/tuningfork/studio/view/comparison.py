"""Several tuning jobs side by side: what came of each, and in which settings and counts of data they differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.texts.formats import parse_time
from tuningfork.studio.view.job_words import loss, short_base
from tuningfork.studio.view.model_report import ModelReport

LETTERS = "ABCD"
"""What the models are called in a chart and above the columns of a table, so that no colour has to be known."""

LEAST, MOST = 2, len(LETTERS)
"""How many models can be compared."""

Job = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One property of all models, in their order. A model that has no such property has ""."""

    label: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the models do not all have the same value."""
        return len(set(self.values)) > 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """The lines of each table."""

    results: tuple[Line, ...]
    settings: tuple[Line, ...]
    data: tuple[Line, ...]

    @classmethod
    def of(cls, jobs: Sequence[Job], texts: Texts) -> "Comparison":
        """From the API's answers about the jobs."""
        reports = [ModelReport.of(job, {}, texts) for job in jobs]
        settings = [{each.label: each.value for each in report.settings} for report in reports]
        start = {
            texts("library.base"): tuple(short_base(str(job.get("baseModel", ""))) for job in jobs),
            texts("compare.begins_as"): tuple(_source(job) for job in jobs),
        }
        return cls(
            results=tuple(Line(*each) for each in _results(jobs, texts) if any(each[1])),
            settings=(*(Line(*each) for each in start.items() if any(each[1])), *_lines(settings)),
            data=_lines([dict(report.data) for report in reports]),
        )

    @property
    def differing(self) -> tuple[Line, ...]:
        """The settings in which the models differ."""
        return tuple(each for each in self.settings if each.differs)

    @property
    def alike(self) -> tuple[Line, ...]:
        """The settings that all models share."""
        return tuple(each for each in self.settings if not each.differs)


def _lines(found: Sequence[Mapping[str, str]]) -> tuple[Line, ...]:
    """A line for every name in some of the tables, in the order in which they first come."""
    names = dict.fromkeys(name for each in found for name in each)
    return tuple(Line(name, tuple(each.get(name, "") for each in found)) for name in names)


def _source(job: Job) -> str:
    return str(job.get("tunedModelSource", "")).removeprefix("tunedModels/")


def _results(jobs: Sequence[Job], texts: Texts) -> Iterable[tuple[str, tuple[str, ...]]]:
    yield texts("compare.best_validation"), tuple(_point(job, "bestValidation", texts) for job in jobs)
    yield texts("compare.last_training"), tuple(loss(job.get("lastTrainingLoss"), texts) for job in jobs)
    yield texts("compare.lowest_training"), tuple(_point(job, "lowestTraining", texts) for job in jobs)
    yield texts("compare.steps"), tuple(_steps(job, texts) for job in jobs)
    yield texts("compare.duration"), tuple(_duration(job, texts) for job in jobs)


def _point(job: Job, name: str, texts: Texts) -> str:
    point = job.get(name)
    if not point:
        return ""
    return texts("compare.at_step", loss=loss(point.get("meanLoss"), texts), step=int(point.get("step", 0)))


def _steps(job: Job, texts: Texts) -> str:
    if "totalSteps" not in job:
        return ""
    return texts("compare.of_steps", step=int(job.get("step", 0)), total=int(job["totalSteps"]))


def _duration(job: Job, texts: Texts) -> str:
    began, ended = job.get("startTime"), job.get("completeTime")
    if not began or not ended:
        return ""
    return texts.formats.duration((parse_time(ended) - parse_time(began)).total_seconds())
