"""Probe prompts of a tuning job: asked before its training and after its epochs, so that answers are seen to change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.references import ModelRef
from tuningfork.domain.text import refusal_of
from tuningfork.domain.tuning_job import JobId

MOST_PROMPTS = 5
MOST_PROMPT_CHARACTERS = 2_000
MOST_OUTPUT_TOKENS = 128
MOST_EPOCHS_ASKED = 20
"""After so many epochs at most, evenly spread, a job with probe prompts keeps a checkpoint, which is then asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """The answer to a job's prompt with this number, from 1, after some step; `step` 0: before the training.

    `cut`: it had more tokens than are asked for. `problem` says why there is no answer; "": there is one.
    """

    number: int
    step: int
    epoch: int
    text: str
    output_tokens: int
    time: datetime
    cut: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The prompts of a job in their order, and the answers so far, by step. `is_complete`: there will be no more."""

    job_id: JobId
    prompts: tuple[str, ...]
    answers: tuple[ProbeAnswer, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProbes:
    """The probes of a model's job. `before` is the model that was asked before the training."""

    before: ModelRef
    probes: Probes


def schedule_with_probes(wanted: CheckpointSchedule, epoch_count: int) -> CheckpointSchedule:
    """The checkpoints that a job with probe prompts keeps: those that were asked for, or else those of its epochs."""
    if wanted != CheckpointSchedule():
        return wanted
    return CheckpointSchedule(epochs_every=-(-epoch_count // MOST_EPOCHS_ASKED))


def violations_of_probes(prompts: Sequence[str]) -> Iterator[FieldViolation]:
    """Everything that is wrong with the probe prompts of a request."""
    if len(prompts) > MOST_PROMPTS:
        described = f"probe_prompts must be at most {MOST_PROMPTS} texts; {len(prompts)} were given"
        yield FieldViolation(field="probe_prompts", description=described, reason=Reason.TOO_LONG)
        return
    for index, prompt in enumerate(prompts):
        field = f"probe_prompts[{index}]"
        if not prompt.strip():
            described = f"{field} is empty: leave it out, or say what to ask"
            yield FieldViolation(field=field, description=described, reason=Reason.MISSING)
        elif len(prompt) > MOST_PROMPT_CHARACTERS:
            described = f"{field} must have at most {MOST_PROMPT_CHARACTERS:,} characters; it has {len(prompt):,}"
            yield FieldViolation(field=field, description=described, reason=Reason.TOO_LONG)
        elif refusal := refusal_of(prompt):
            yield FieldViolation(field=field, description=f"{field} {refusal}", reason=Reason.MALFORMED)
