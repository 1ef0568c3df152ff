"""A model that rates texts, as an operator describes it: where it is, and what its verdicts mean in our categories."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.generation import Speaker
from tuningfork.domain.safety import HarmCategory, HarmProbability

Meanings = tuple[tuple[str, tuple[HarmCategory, ...]], ...]
"""A model's own labels or codes, each with the categories that it speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPoints:
    """From which score in (0, 1] on a probability is LOW, MEDIUM and HIGH; below it is NEGLIGIBLE."""

    low: float = 0.25
    medium: float = 0.5
    high: float = 0.8

    def probability(self, score: float) -> HarmProbability:
        """What a score of 0 to 1 is called."""
        if score >= self.high:
            return HarmProbability.HIGH
        if score >= self.medium:
            return HarmProbability.MEDIUM
        return HarmProbability.LOW if score >= self.low else HarmProbability.NEGLIGIBLE


class Activation(StrEnum):
    """How a classifier's logits become scores: each label for itself, or one label out of all."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierModel:
    """A text classifier (`AutoModelForSequenceClassification`): one forward pass scores every label.

    `location` is a directory or a Hub id. A category's score is the highest of its labels' under sigmoid, their sum
    under softmax, where labels exclude one another. Labels that `labels` does not name count for nothing.
    `window_tokens` is the longest piece rated at once; longer texts are rated piece by piece.
    """

    location: str
    revision: str | None = None
    labels: Meanings
    activation: Activation
    cut_points: CutPoints = CutPoints()
    window_tokens: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardModel:
    """A language model that answers `safe`, or `unsafe` and the codes of what is wrong, in the manner of Llama Guard.

    The score is the probability of `unsafe` against `safe` as the first word (Inan et al. 2023, "Llama Guard"); it
    counts for the categories of the codes that the model names. A code that `codes` does not name counts for
    `otherwise`. `template` is a Jinja chat template that replaces the model's own.
    """

    location: str
    revision: str | None = None
    codes: Meanings
    otherwise: tuple[HarmCategory, ...]
    cut_points: CutPoints = CutPoints()
    window_tokens: int = 2_048
    template: str | None = None


RatingModel = ClassifierModel | GuardModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text to rate, and who says it. `asked` is what a model's text answers, which some raters want to see."""

    text: str
    speaker: Speaker
    asked: str = ""
