"""The protocol of raters: a rater assesses how likely a text is harmful, in each of four categories."""

from dataclasses import dataclass
from typing import Protocol

from tuningfork.domain.rater import Passage
from tuningfork.domain.safety import Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialAssessment:
    """The assessment of a growing text so far.

    The last `held` characters of the text are not assessed yet, and should not be sent to the caller yet.
    """

    assessment: Assessment
    held: int


class Follower(Protocol):
    """Assesses one text while it grows. The cost of adding a piece does not depend on the length of the text so far."""

    async def add(self, text: str, *, last: bool) -> PartialAssessment:
        """Append a piece, which may be empty, and assess the text. `last`: the text is complete, and nothing is held.

        Raises:
            Unavailable, WorkerDied, InternalError: the text cannot be rated.

        """
        ...


class SafetyRater(Protocol):
    """Rates texts. Its async methods belong to one event loop.

    `owner` is on whose behalf a text is rated: owners take turns.
    """

    async def rate(self, passage: Passage, *, owner: str = "") -> Assessment:
        """The assessment of a whole text.

        Raises:
            Unavailable, WorkerDied, InternalError: the text cannot be rated.

        """
        ...

    def follow(self, asked: str, *, owner: str = "") -> Follower:
        """Begin to assess a model's answer to this prompt."""
        ...
