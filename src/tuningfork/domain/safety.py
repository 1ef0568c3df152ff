"""What a rater says of a text, and from which probability on a caller wants no such text.

Source: google/ai/generativelanguage/v1beta/safety.proto.
"""

from dataclasses import dataclass
from enum import StrEnum


class HarmCategory(StrEnum):
    """The four kinds of harm that texts are rated for, in the order in which ratings are printed."""

    SEXUALLY_EXPLICIT = "HARM_CATEGORY_SEXUALLY_EXPLICIT"
    HATE_SPEECH = "HARM_CATEGORY_HATE_SPEECH"
    HARASSMENT = "HARM_CATEGORY_HARASSMENT"
    DANGEROUS_CONTENT = "HARM_CATEGORY_DANGEROUS_CONTENT"


class HarmProbability(StrEnum):
    """How likely the text is harmful in one way."""

    NEGLIGIBLE = "NEGLIGIBLE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"

    @property
    def rank(self) -> int:
        """NEGLIGIBLE 1 to HIGH 4."""
        return list(HarmProbability).index(self) + 1


class BlockThreshold(StrEnum):
    """From which probability on a text is withheld."""

    BLOCK_LOW_AND_ABOVE = "BLOCK_LOW_AND_ABOVE"
    BLOCK_MEDIUM_AND_ABOVE = "BLOCK_MEDIUM_AND_ABOVE"
    BLOCK_ONLY_HIGH = "BLOCK_ONLY_HIGH"
    BLOCK_NONE = "BLOCK_NONE"
    OFF = "OFF"


@dataclass(frozen=True, slots=True)
class SafetySetting:
    """What a caller wants for one category."""

    category: HarmCategory
    threshold: BlockThreshold


@dataclass(frozen=True, slots=True)
class SafetyRating:
    """What a rater found. `blocked`: the text was withheld because of it."""

    category: HarmCategory
    probability: HarmProbability
    blocked: bool = False
