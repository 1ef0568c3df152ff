"""References to models: the ids by which requests name them. Each dialect has its own names for them."""

from dataclasses import dataclass

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuned_model import TunedModelId


@dataclass(frozen=True, slots=True)
class BaseRef:
    """A base model, by any of its public names."""

    name: BaseModelName


@dataclass(frozen=True, slots=True)
class TunedRef:
    """A tuned model with its default checkpoint."""

    id: TunedModelId


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A tuned model with the checkpoint of this number."""

    model: TunedModelId
    number: int


ModelRef = BaseRef | TunedRef | CheckpointRef
"""A model that can be asked for text."""


@dataclass(frozen=True, slots=True)
class UnreadableName:
    """A text that was given as the name of a model, and is not of the form of any model's name."""

    text: str
