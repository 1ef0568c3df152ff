"""What both kinds of rating models are to those who use them, and the one place that tells them apart."""

from collections.abc import Sequence
from typing import Protocol

from tuningfork.domain.rater import ClassifierModel, Passage, RatingModel
from tuningfork.domain.safety import Assessment


class PassageRater(Protocol):
    """A model in memory that rates texts. Not thread-safe."""

    def rate(self, passages: Sequence[Passage]) -> list[Assessment]:
        """What each passage is, in their order; a long one is as bad as the worst of its pieces.

        Raises:
            InternalError: the model gave no usable answer.

        """
        ...


def load_rater(model: RatingModel, *, device: str = "cpu") -> PassageRater:
    """Bring a rating model into memory.

    Raises:
        RaterUnusable: its files are missing, of another kind, or have other labels than its description.

    """
    from tuningfork.classification.classifier import Classifier  # noqa: PLC0415 - both stand on this module
    from tuningfork.classification.guard import Guard  # noqa: PLC0415

    return Classifier(model, device=device) if isinstance(model, ClassifierModel) else Guard(model, device=device)
