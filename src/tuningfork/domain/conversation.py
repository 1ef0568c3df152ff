"""Conversations, which models are trained on, and which they are asked to continue.

A training example is a conversation with model turns to learn, or a preference between two answers to the same
conversation. A request for text is a conversation whose last turn is the user's.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

Part = str
"""One part of a turn: a text. Later there will also be references to images and sounds."""


class Speaker(StrEnum):
    """Who said a turn."""

    USER = "user"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation.

    `weight` matters only in training, and only for turns of the model: a turn of weight 1 is learned; one of weight 0
    is only context.
    """

    speaker: Speaker
    parts: tuple[Part, ...]
    weight: Literal[0, 1] = 1

    @classmethod
    def said(cls, speaker: Speaker, text: str, weight: Literal[0, 1] = 1) -> Self:
        """A turn of one text."""
        return cls(speaker, (text,), weight)

    @property
    def text(self) -> str:
        """The texts of all parts, joined without a separator."""
        return "".join(self.parts)

    @property
    def is_learned(self) -> bool:
        """Whether training teaches the model to generate this turn."""
        return self.speaker is Speaker.MODEL and self.weight == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """An optional system instruction, then the turns of user and model, in order.

    In a training example, model turns of weight 1 are learned. In a prompt, the last turn is the user's.
    """

    turns: tuple[Turn, ...]
    system_instruction: str | None = None

    @classmethod
    def pair(cls, text_input: str, output: str) -> Self:
        """The conversation of one question and one answer."""
        return cls(turns=(Turn.said(Speaker.USER, text_input), Turn.said(Speaker.MODEL, output)))

    def as_pair(self) -> tuple[str, str] | None:
        """The question and the answer, if the conversation has only these two texts; else None."""
        if self.system_instruction is not None or len(self.turns) != 2:
            return None
        question, answer = self.turns
        if question.speaker is not Speaker.USER or not answer.is_learned:
            return None
        if len(question.parts) != 1 or len(answer.parts) != 1:
            return None
        return question.parts[0], answer.parts[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A prompt whose last turn is the user's, a chosen answer, and a rejected one. Answers are lists of parts."""

    prompt: Conversation
    chosen: tuple[Part, ...]
    rejected: tuple[Part, ...]


Example = Conversation | Preference
"""A training example."""
