"""Answers to probe prompts over the epochs of a tuning, ready to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer after some step; `step` 0: before the training.

    `same`: it is that of the step before. `cut`: it went on. `problem` says why there is none; "": there is one.
    """

    step: int
    epoch: int
    text: str
    same: bool
    cut: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt and its answers, the earliest first."""

    prompt: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Probes:
    """All prompts of a job. `complete`: no further answers will come. `before` is the model that was asked first."""

    prompts: tuple[Probe, ...]
    before: str
    complete: bool


def probes_of(found: Json) -> Probes:
    """The prompts as the API writes them."""
    prompts = tuple(
        Probe(str(each.get("prompt", "")), _answers(each.get("answers", ()))) for each in found.get("prompts", ())
    )
    return Probes(prompts, str(found.get("before", "")), bool(found.get("complete")))


def _answers(found: Any) -> tuple[Answer, ...]:
    answers: list[Answer] = []
    for each in sorted(found, key=lambda answer: int(answer.get("step", 0))):
        text, problem = str(each.get("text", "")), str(each.get("problem", ""))
        before = answers[-1] if answers else None
        answers.append(
            Answer(
                step=int(each.get("step", 0)),
                epoch=int(each.get("epoch", 0)),
                text=text,
                same=before is not None and not problem and not before.problem and before.text == text,
                cut=bool(each.get("cut")),
                problem=problem,
            )
        )
    return tuple(answers)
