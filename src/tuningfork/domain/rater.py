"""A rating model as the operator describes it: where it is, and which harm categories its labels mean."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.conversation import Speaker
from tuningfork.domain.safety import HarmCategory, HarmProbability

Meanings = tuple[tuple[str, tuple[HarmCategory, ...]], ...]
"""A model's labels or codes, each with the harm categories that it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPoints:
    """The least scores, in (0, 1], for the probabilities LOW, MEDIUM and HIGH; lower scores are NEGLIGIBLE."""

    low: float = 0.25
    medium: float = 0.5
    high: float = 0.8

    def probability(self, score: float) -> HarmProbability:
        """The probability for a score of 0 to 1."""
        if score >= self.high:
            return HarmProbability.HIGH
        if score >= self.medium:
            return HarmProbability.MEDIUM
        return HarmProbability.LOW if score >= self.low else HarmProbability.NEGLIGIBLE


class Activation(StrEnum):
    """How a classifier's logits become scores: independently for each label, or for labels that exclude each other."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierModel:
    """A text classifier (`AutoModelForSequenceClassification`): one forward pass scores every label.

    `location` is a directory or a Hub id. A category's score is the highest score of its labels with sigmoid, and the
    sum of their scores with softmax. Labels that are not in `labels` are ignored. A text with more than `window_tokens`
    tokens is rated in pieces of that length.
    """

    location: str
    revision: str | None = None
    labels: Meanings
    activation: Activation
    cut_points: CutPoints = CutPoints()
    window_tokens: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardModel:
    """A language model that answers like Llama Guard: `safe`, or `unsafe` and codes for the kinds of harm.

    The score is the probability of `unsafe` relative to `safe` as the first word (Inan et al. 2023, "Llama Guard"). It
    is the score of the categories of the codes in the answer. A code that is not in `codes` means the categories
    `otherwise`. `template` is a Jinja chat template that replaces the model's.
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
    """A text to rate, and its speaker. For a model's text, `asked` is the prompt, which some raters need."""

    text: str
    speaker: Speaker
    asked: str = ""
