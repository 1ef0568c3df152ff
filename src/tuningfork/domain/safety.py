"""Harm categories, the probability of harm in each, and the thresholds at which callers want a text withheld."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class HarmCategory(StrEnum):
    """The four kinds of harm that texts are rated for, in the order in which ratings are printed."""

    SEXUALLY_EXPLICIT = "HARM_CATEGORY_SEXUALLY_EXPLICIT"
    HATE_SPEECH = "HARM_CATEGORY_HATE_SPEECH"
    HARASSMENT = "HARM_CATEGORY_HARASSMENT"
    DANGEROUS_CONTENT = "HARM_CATEGORY_DANGEROUS_CONTENT"


class UnratedCategory(StrEnum):
    """Kinds of harm that a caller may name but that no rater assesses."""

    VIOLENCE = "HARM_CATEGORY_VIOLENCE"
    MEDICAL = "HARM_CATEGORY_MEDICAL"
    CIVIC_INTEGRITY = "HARM_CATEGORY_CIVIC_INTEGRITY"


class HarmProbability(StrEnum):
    """How likely a text is harmful in one category."""

    NEGLIGIBLE = "NEGLIGIBLE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"

    @property
    def rank(self) -> int:
        """NEGLIGIBLE 1 to HIGH 4."""
        return _RANKS[self]


_RANKS = {probability: rank for rank, probability in enumerate(HarmProbability, start=1)}


class BlockThreshold(StrEnum):
    """The lowest probability at which a text is withheld."""

    BLOCK_LOW_AND_ABOVE = "BLOCK_LOW_AND_ABOVE"
    BLOCK_MEDIUM_AND_ABOVE = "BLOCK_MEDIUM_AND_ABOVE"
    BLOCK_ONLY_HIGH = "BLOCK_ONLY_HIGH"
    BLOCK_NONE = "BLOCK_NONE"
    OFF = "OFF"
    """Nothing is withheld, and the category is left out of the ratings."""

    @property
    def is_active(self) -> bool:
        """Whether any text is withheld at this threshold."""
        return self in _LEAST_BLOCKED

    def blocks(self, probability: HarmProbability) -> bool:
        """Whether a text with this probability of harm is withheld."""
        return self.is_active and probability.rank >= _LEAST_BLOCKED[self].rank


_LEAST_BLOCKED = {
    BlockThreshold.BLOCK_LOW_AND_ABOVE: HarmProbability.LOW,
    BlockThreshold.BLOCK_MEDIUM_AND_ABOVE: HarmProbability.MEDIUM,
    BlockThreshold.BLOCK_ONLY_HIGH: HarmProbability.HIGH,
}

DEFAULT_THRESHOLD = BlockThreshold.BLOCK_MEDIUM_AND_ABOVE
"""The documented default of hosted models that could be tuned (the reference of the tuning API, "Safety settings")."""


@dataclass(frozen=True, slots=True)
class SafetySetting:
    """The threshold that a caller sets for one category."""

    category: HarmCategory | UnratedCategory
    threshold: BlockThreshold


@dataclass(frozen=True, slots=True)
class SafetyRating:
    """A text's probability of harm in one category. `blocked`: the text was withheld because of it, at `threshold`."""

    category: HarmCategory
    probability: HarmProbability
    blocked: bool = False
    threshold: BlockThreshold = BlockThreshold.BLOCK_NONE


@dataclass(frozen=True, slots=True)
class Assessment:
    """The probability of harm of one text in each category, in the order of the categories."""

    probabilities: tuple[HarmProbability, ...] = (HarmProbability.NEGLIGIBLE,) * len(HarmCategory)

    @classmethod
    def of(cls, found: Mapping[HarmCategory, HarmProbability]) -> "Assessment":
        """The assessment with these probabilities; all other categories are NEGLIGIBLE."""
        return cls(tuple(found.get(category, HarmProbability.NEGLIGIBLE) for category in HarmCategory))

    def __getitem__(self, category: HarmCategory) -> HarmProbability:
        return self.probabilities[_PLACES[category]]

    def or_worse(self, other: "Assessment") -> "Assessment":
        """For each category the higher of the two probabilities, as for a text that contains both texts."""
        pairs = zip(self.probabilities, other.probabilities, strict=True)
        return Assessment(tuple(max(pair, key=lambda each: each.rank) for pair in pairs))


_PLACES = {category: place for place, category in enumerate(HarmCategory)}

HARMLESS = Assessment()
