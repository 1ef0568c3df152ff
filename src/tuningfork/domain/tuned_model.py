"""A tuned model: a base model, an adapter, and the names and defaults that its owner gave it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.ids import random_id

TunedModelId = NewType("TunedModelId", str)
"""The last part of the model's name: letters, digits and dashes."""

MAX_DISPLAY_NAME_CHARACTERS = 40
MAX_REGISTERED_NAME_CHARACTERS = 128
"""The longest display name in dialects that name models by numbers."""
MAX_DESCRIPTION_CHARACTERS = 10_000
MAX_READER_PROJECTS = 1_000
DEFAULT_LOCATION = "global"
"""The location of models and jobs if the caller named none."""
DEFAULT_VERSION = "default"
"""The alias of the version that is meant where a request names none."""
_CHOSEN_ID = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


class ModelState(StrEnum):
    """Whether the model can be called. Its job has a state of its own."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ProjectLocation:
    """A project and one of its locations, to which each model and its job belong."""

    project: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A tuned model. `base_model` is the public name in the owner's request, which may be an alias."""

    id: TunedModelId
    number: int
    """Names the model's job where names are decimal numbers; a random number of 62 bits."""
    base_model: BaseModelName
    resolved_base: BaseModelName | None = None
    """The own name of the base that `base_model` meant when the model was created; see `Catalog.find`."""
    source: TunedModelId | None = None
    """The tuned model from whose weights it was tuned; None: it was tuned from the base."""
    display_name: str = ""
    description: str = ""
    state: ModelState
    create_time: datetime
    update_time: datetime
    temperature: float
    top_p: float
    top_k: int | None = None
    reader_project_numbers: tuple[int, ...] = ()
    project: str = ""
    """The project of whoever created it."""
    location: str = DEFAULT_LOCATION
    default_checkpoint: int | None = None
    """The number of its default checkpoint; None as long as the model cannot be called."""
    parent: int | None = None
    """The number of the model of which this one is a further version; None: it is the first version of its own."""
    version: int = 1
    """Counts the versions under one number, from 1."""
    version_aliases: tuple[str, ...] = (DEFAULT_VERSION,)
    """Names of this version among those of its number. One of them has `DEFAULT_VERSION`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What its owner wrote on it, for lists."""

    @property
    def registry_model(self) -> int:
        """The number that all versions have in common."""
        return self.number if self.parent is None else self.parent


class Changeable(StrEnum):
    """The fields of a tuned model that its writers may change, by their names in `TunedModel`."""

    DISPLAY_NAME = "display_name"
    DESCRIPTION = "description"
    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    TOP_K = "top_k"
    READER_PROJECT_NUMBERS = "reader_project_numbers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """A requested change of a tuned model: the fields named in `fields` get the values here; others do not change.

    A temperature, top_p or top_k of None is reset to the base model's; a top_k of 0 means no limit. Violations have
    these field names.
    """

    fields: frozenset[Changeable]
    display_name: str = ""
    description: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reader_project_numbers: tuple[int, ...] = ()


def new_id(display_name: str, entropy: int) -> TunedModelId:
    """A new id: a slug of the display name, a dash, and a base-36 suffix, as in the hosted API.

    Args:
        display_name: the display name; "": the id is only the suffix.
        entropy: 62 random bits, from which the suffix is made.

    The id has at most 63 characters and begins with a letter, which some clients require.
    """
    slug = re.sub(r"[^a-z0-9-]", "", display_name.lower().replace(" ", "-"))[:50].strip("-")
    if slug and not slug[0].isalpha():
        slug = f"m{slug}"[:50]
    suffix = random_id(entropy)
    if slug:
        return TunedModelId(f"{slug}-{suffix}")
    return TunedModelId(suffix if suffix[0].isalpha() else f"m{suffix[1:]}")


def violations_of_chosen_id(chosen: str, path: str) -> tuple[FieldViolation, ...]:
    """Everything wrong with an id that the caller chose: it must be 1 to 40 characters of [a-z0-9-].

    The first must be a letter, and the last must not be a dash.
    """
    if _CHOSEN_ID.fullmatch(chosen):
        return ()
    wanted = f"{path} must match {_CHOSEN_ID.pattern} (1 to 40 characters); {chosen[:80]!r} was given"
    return (FieldViolation(field=path, description=wanted, reason=Reason.MALFORMED),)
