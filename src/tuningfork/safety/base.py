"""What a rater is: something that looks at a text and says how likely it is harmful in each of four ways."""

from dataclasses import dataclass
from typing import Protocol

from tuningfork.domain.rater import Passage
from tuningfork.domain.safety import Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of a growing text. The last `held` characters of it have not been judged and should wait."""

    assessment: Assessment
    held: int


class Follower(Protocol):
    """Watches one text grow. What it costs to add a piece does not depend on how long the text is already."""

    async def add(self, text: str, *, last: bool) -> Verdict:
        """Append a piece, which may be empty; `last` says that nothing follows, and then nothing is held.

        Raises:
            Unavailable, WorkerDied, InternalError: the text cannot be rated.

        """
        ...


class SafetyRater(Protocol):
    """Rates texts. Its async methods belong to one event loop."""

    async def rate(self, passage: Passage) -> Assessment:
        """What this text is, as a whole.

        Raises:
            Unavailable, WorkerDied, InternalError: the text cannot be rated.

        """
        ...

    def follow(self, asked: str) -> Follower:
        """Begin to watch a model's answer to what was asked."""
        ...
