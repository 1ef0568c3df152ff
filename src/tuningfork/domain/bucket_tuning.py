"""A request to tune on examples that are in a bucket, and the rules for what its caller may choose."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuningfork.domain import hyperparameters
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.preparation import Preparation
from tuningfork.domain.text import refusal_of
from tuningfork.domain.tuned_model import MAX_DESCRIPTION_CHARACTERS, ProjectLocation

MAX_DISPLAY_NAME_CHARACTERS = 128
MAX_LABELS = 64
MAX_LABEL_CHARACTERS = 64
_LABEL_MARKS = re.compile(r"[0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRef:
    """A version of a tuned model that is known by its number, and one of its checkpoints; None: the default one."""

    place: ProjectLocation
    number: int
    version: str
    checkpoint: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketTuning:
    """A request to tune on examples in a bucket. Violations have these field names."""

    base_model: str = ""
    source: VersionRef | None = None
    """The tuned model to go on from instead of a base model."""
    preparation: Preparation
    adapter_rank: int | None = None
    """The rank of the new adapter; None: the usual one for the base model's name, or that of the source."""
    display_name: str = ""
    """"": one is made up, or it is that of the source."""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    """As `TuningJob.request_details`."""


def violations_of(wanted: BucketTuning) -> Iterator[FieldViolation]:
    """Everything that is wrong with a request, apart from what depends on its base model."""
    for name, text, most in (
        ("display_name", wanted.display_name, MAX_DISPLAY_NAME_CHARACTERS),
        ("description", wanted.description, MAX_DESCRIPTION_CHARACTERS),
    ):
        if len(text) > most:
            described = f"must be at most {most} characters long; it has {len(text)}"
            yield FieldViolation(field=name, description=described, reason=Reason.TOO_LONG)
        elif refusal := "must not contain the character U+0000" if "\0" in text else refusal_of(text):
            yield FieldViolation(field=name, description=refusal, reason=Reason.MALFORMED)
    yield from hyperparameters.violations_of(wanted.preparation.hyperparameters, "hyperparameters")
    requested = wanted.preparation.hyperparameters
    if requested.learning_rate is not None and requested.learning_rate_multiplier is not None:
        described = "learning_rate and learning_rate_multiplier exclude each other; give one of them"
        yield FieldViolation(field="hyperparameters.learning_rate", description=described, reason=Reason.EXCLUDED)
    yield from violations_of_labels(wanted.labels)


def violations_of_labels(labels: Mapping[str, str]) -> Iterator[FieldViolation]:
    """Everything that is wrong with labels: lower-case letters, digits, `_` and `-`; keys begin with a letter."""
    if len(labels) > MAX_LABELS:
        described = f"at most {MAX_LABELS} labels are allowed; {len(labels)} were given"
        yield FieldViolation(field="labels", description=described, reason=Reason.TOO_LONG)
        return
    for key, value in labels.items():
        shown = key[:MAX_LABEL_CHARACTERS]
        if not key or not _is_letter(key[0]) or not _is_label(key):
            described = (
                f"the key {shown!r} must be 1 to {MAX_LABEL_CHARACTERS} lowercase letters, digits, dashes and "
                "underscores, and begin with a letter"
            )
            yield FieldViolation(field="labels", description=described, reason=Reason.MALFORMED)
        elif not _is_label(value):
            described = (
                f"the value of {shown!r} must be at most {MAX_LABEL_CHARACTERS} lowercase letters, digits, dashes and "
                "underscores"
            )
            yield FieldViolation(field="labels", description=described, reason=Reason.MALFORMED)


def _is_label(text: str) -> bool:
    return len(text) <= MAX_LABEL_CHARACTERS and all(_is_letter(each) or _LABEL_MARKS.match(each) for each in text)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character) in ("Ll", "Lo", "Lm", "Mn", "Mc", "Nd") and not character.isdigit()
