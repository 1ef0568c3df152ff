"""What tuning runs that have taken no step yet are doing, as the server tells it beside their operations."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.dialect import Operation
from tuningfork.client.durations import duration
from tuningfork.client.errors import ClientError
from tuningfork.domain.job_stage import JobStage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStage:
    """The stage of a run. `stage` may be one that this version does not know. Seconds that are not known are None.

    `seconds_left` is about how long the run takes for the rest of its steps. `held_up_by` is why the trainer cannot
    take it up at the moment, as "memory is short: ..."; "": it can.
    """

    stage: str
    loading_base_model: str = ""
    loading_seconds: float | None = None
    usual_seconds: float | None = None
    seconds_left: float | None = None
    held_up_by: str = ""

    @property
    def is_held_up(self) -> bool:
        """Whether the trainer cannot take the run up at the moment, whatever steps it has completed before."""
        return self.stage == JobStage.HELD_UP

    @property
    def loads_base(self) -> bool:
        """Whether the run waits until its base model is loaded."""
        return self.stage == JobStage.LOADING_BASE

    @property
    def in_words(self) -> str:
        """What the run waits for; "": nothing that is worth a word."""
        if self.stage == JobStage.STARTING:
            return "waiting for the trainer"
        if self.is_held_up:
            return f"waiting, since {self.held_up_by.partition(': ')[0]}" if self.held_up_by else "waiting"
        if self.stage == JobStage.PREPARING:
            return "its examples are being read"
        return f"loading {self.loading_base_model}" if self.stage == JobStage.LOADING_BASE else ""

    @property
    def time_left(self) -> str:
        """How long it takes for the rest of its steps, in words; "": that is not known."""
        return "" if self.seconds_left is None else f"about {duration(self.seconds_left)} left"

    @property
    def in_full(self) -> str:
        """What the run waits for: a reason in full, or a base with how long loading has taken and usually takes."""
        if self.is_held_up and self.held_up_by:
            return f"waiting, since {self.held_up_by}"
        if self.stage != JobStage.LOADING_BASE or self.loading_seconds is None:
            return self.in_words
        usual = "" if self.usual_seconds is None else f" of usually {self.usual_seconds:.0f}"
        return f"{self.in_words} for {self.loading_seconds:.0f}{usual} s"


def parse_stage(answer: Json) -> RunStage:
    """A tuningfork.v1.JobStage."""
    return RunStage(
        stage=fields.name(answer, "stage", ""),
        loading_base_model=fields.name(answer, "loadingBaseModel", ""),
        loading_seconds=_seconds(answer, "loadingSeconds"),
        usual_seconds=_seconds(answer, "usualLoadingSeconds"),
        seconds_left=_seconds(answer, "secondsLeft"),
        held_up_by=fields.text(answer, "heldUpBy", ""),
    )


def parse_staged(answer: Json) -> tuple[str, RunStage]:
    """The model's name and the stage of an entry of tuningfork.v1.ListStagesResponse."""
    return fields.name(answer, "tunedModel"), parse_stage(answer)


def told(operation: Operation, ask: Callable[[str], RunStage]) -> Operation:
    """The run with what it waits for, if it has taken no step; a server of an earlier version cannot tell."""
    if not operation.done and not operation.completed_steps:
        with suppress(ClientError):
            return replace(operation, waits_for=ask(operation.tuned_model).in_words)
    return operation


def _seconds(answer: Json, key: str) -> float | None:
    seconds = fields.number(answer, key) if key in answer else math.inf
    return seconds if math.isfinite(seconds) else None
