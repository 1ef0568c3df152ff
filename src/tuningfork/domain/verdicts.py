"""Which examples of an evaluation run a model lost, won or tied, and in which order they are shown.

One model is looked at, beside all others of the run, by one measure. An answer *fails* if its score is below a half, so
with a measure of 0 or 1 if it is 0. The model lost an example if its answer fails or another model's has a higher
score; it tied if another one's is as good; else it won. A model alone has won what did not fail.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

PASSING_SCORE = 0.5


class Verdict(StrEnum):
    """How a model did on one example."""

    LOST = "LOST"
    TIED = "TIED"
    WON = "WON"


def verdict_of(own: float, others: Sequence[float]) -> Verdict:
    """How a model did with this score on an example on which the others have theirs."""
    best = max(others, default=-1.0)
    if own < PASSING_SCORE or best > own:
        return Verdict.LOST
    return Verdict.TIED if best == own else Verdict.WON


def in_order(verdicts: Mapping[int, Verdict], scores: Mapping[int, float]) -> list[int]:
    """The numbers of examples, losses first, then ties; of equals those with the lowest score, then by number."""
    places = {verdict: place for place, verdict in enumerate(Verdict)}
    return sorted(verdicts, key=lambda number: (places[verdicts[number]], scores[number], number))
