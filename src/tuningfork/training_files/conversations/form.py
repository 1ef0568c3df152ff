"""A format of conversations: how its records are recognised and read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from tuningfork.domain.conversation import Conversation

Fields = Mapping[str, Any]
"""A record: names to values as JSON has them."""


@dataclass(frozen=True, slots=True)
class Form:
    """One format. `read` raises `Wrong` where a record of this format cannot be trained on."""

    name: str
    fits: Callable[[Fields], bool]
    read: Callable[[Fields], Conversation]


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a list, as JSON or a program has it."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def is_list_of_objects(value: object) -> TypeGuard[Sequence[Fields]]:
    """Whether a value is a list of objects, and of one at least."""
    return is_list(value) and len(value) > 0 and all(isinstance(each, Mapping) for each in value)
