"""Training objectives: the kinds of loss, each with its own hyperparameters."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Supervised fine-tuning: the mean of -log p over the tokens that are to be learned. It has no hyperparameters."""

    over_preferences: ClassVar[bool] = False
    """Whether it learns from preferences; otherwise it learns from conversations."""


DEFAULT_BETA = 0.1
"""The value that Rafailov et al. (2023, appendix B) use unless they say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPreferenceOptimization:
    """DPO (Rafailov et al. 2023, arXiv 2305.18290): make chosen answers likelier than rejected ones.

    `beta`, above 0 and without a unit, is how strongly the model is held to the reference model: with a larger beta it
    stays closer.
    """

    over_preferences: ClassVar[bool] = True
    """See `CrossEntropy`."""

    beta: float = DEFAULT_BETA


Objective = CrossEntropy | DirectPreferenceOptimization
