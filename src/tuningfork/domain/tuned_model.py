"""The thing that is called: a base model, an adapter, and the names and defaults its owner gave it."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import FieldViolation

TunedModelId = NewType("TunedModelId", str)
"""The last part of `tunedModels/{id}`."""

MAX_DISPLAY_NAME_CHARACTERS = 40
MAX_DESCRIPTION_CHARACTERS = 10_000
MAX_READER_PROJECTS = 1_000
_NAME = re.compile(r"tunedModels/(?P<id>[a-z0-9-]{1,63})")
_CHOSEN_ID = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_SUFFIX_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class ModelState(StrEnum):
    """Whether the model can be called; what its job is doing is the job's own state."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A tuned model. `base_model` is the public name its owner asked for (an alias stays an alias)."""

    id: TunedModelId
    base_model: BaseModelName
    source: TunedModelId | None = None
    """The tuned model whose weights it started from; None where it started from the base itself."""
    display_name: str = ""
    description: str = ""
    state: ModelState
    create_time: datetime
    update_time: datetime
    temperature: float
    top_p: float
    top_k: int | None = None
    reader_project_numbers: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The resource name, `tunedModels/{id}`."""
        return f"tunedModels/{self.id}"


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
    """A wish to change a tuned model: `fields` become what is said here, all others stay as they are.

    A temperature, top_p or top_k of None becomes the base model's own again. Faults are reported under these names.
    """

    fields: frozenset[Changeable]
    display_name: str = ""
    description: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reader_project_numbers: tuple[int, ...] = ()


def new_id(display_name: str, entropy: int) -> TunedModelId:
    """A resource id in the service's manner: slug of the display name, a dash, a base-36 suffix.

    Args:
        display_name: may be empty; then the id is the suffix alone.
        entropy: 62 random bits, which make the suffix.

    The whole is at most 63 characters and begins with a letter, which the Google SDK's permission helper demands.
    """
    slug = re.sub(r"[^a-z0-9-]", "", display_name.lower().replace(" ", "-"))[:50].strip("-")
    if slug and not slug[0].isalpha():
        slug = f"m{slug}"[:50]
    suffix = _base36(entropy, 12)
    if slug:
        return TunedModelId(f"{slug}-{suffix}")
    return TunedModelId(suffix if suffix[0].isalpha() else f"m{suffix[1:]}")


def id_in_name(name: str) -> TunedModelId | None:
    """The id in `tunedModels/{id}`; None if this is not the name of any tuned model."""
    found = _NAME.fullmatch(name)
    return None if found is None else TunedModelId(found["id"])


def new_operation_id(entropy: int) -> str:
    """Twelve characters of [a-z0-9] from 62 random bits."""
    return _base36(entropy, 12)


def _base36(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, digit = divmod(number, 36)
        characters.append(_SUFFIX_CHARACTERS[digit])
    return "".join(characters)


def violations_of_chosen_id(chosen: str, path: str) -> tuple[FieldViolation, ...]:
    """What is wrong with a `tunedModelId`: 1 to 40 characters of [a-z0-9-], a letter first, no dash last."""
    if _CHOSEN_ID.fullmatch(chosen):
        return ()
    wanted = f"{path} must match {_CHOSEN_ID.pattern} (1 to 40 characters); {chosen[:80]!r} was given"
    return (FieldViolation(field=path, description=wanted),)
