"""Conversations in which a model calls functions, as rows of training files have them.

Each base's chat template writes calls in a way of its own. Before such a conversation is trained on, it is turned into
one of texts alone, which have the calls as the template writes them (`modeling.function_calls`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tuningfork.domain.conversation import Speaker

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """What a model says to have a function called. `arguments` are a JSON object."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class FunctionResponse:
    """What the function that was called answered, a JSON object."""

    name: str
    response: Json


@dataclass(frozen=True, slots=True)
class CallingTurn:
    """One message. A turn of the model may have calls after its text; one of the user has a text, or responses.

    `weight` is that of `conversation.Turn`.
    """

    speaker: Speaker
    text: str = ""
    calls: tuple[FunctionCall, ...] = ()
    responses: tuple[FunctionResponse, ...] = ()
    weight: Literal[0, 1] = 1

    @property
    def is_text(self) -> bool:
        """Whether the turn is nothing but a text."""
        return not self.calls and not self.responses


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingConversation:
    """A training example with function calls. `functions` declares what the model may call.

    A declaration is a JSON object with `name`, and perhaps a `description` and `parameters`, a JSON schema.
    """

    turns: tuple[CallingTurn, ...]
    system_instruction: str | None = None
    functions: tuple[Json, ...] = ()
