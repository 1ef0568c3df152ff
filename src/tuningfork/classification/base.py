"""The protocol of both kinds of rating models, and the function that loads either kind."""

from collections.abc import Sequence
from typing import Protocol

from tuningfork.domain.rater import ClassifierModel, Passage, RatingModel
from tuningfork.domain.safety import Assessment


class PassageRater(Protocol):
    """A model in memory that rates texts. Not thread-safe.

    `most_together` is how many passages it is worth to give it at a time; more take no less time one by one.
    """

    most_together: int

    def rate(self, passages: Sequence[Passage]) -> list[Assessment]:
        """The assessment of each passage, in order. A long passage is cut, and gets the worst assessment of its pieces.

        Raises:
            InternalError: the model gave no usable answer.

        """
        ...


def load_rater(model: RatingModel, *, device: str = "cpu") -> PassageRater:
    """Load a rating model into memory.

    Raises:
        RaterUnusable: the model's files are missing or of another kind, or it lacks labels that its description names.

    """
    from tuningfork.classification.classifier import Classifier  # noqa: PLC0415 - both import this module
    from tuningfork.classification.guard import Guard  # noqa: PLC0415

    return Classifier(model, device=device) if isinstance(model, ClassifierModel) else Guard(model, device=device)
