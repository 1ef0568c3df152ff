"""Rates texts with a model in a rater process; a growing text is rated piece by piece."""

import time
from collections.abc import Callable

from tuningfork.domain.conversation import Speaker
from tuningfork.domain.rater import Passage, RatingModel
from tuningfork.domain.safety import HARMLESS, Assessment
from tuningfork.execution.base import Raters, RatingAssignment, WorkerDied
from tuningfork.safety.base import PartialAssessment
from tuningfork.service.metrics import Metrics

RATE_EVERY_CHARACTERS = 80
"""A growing text is rated when this much is new, about a line, and at its end. Text that is not rated yet is held back.

After each rating, the next one waits for as long as the last one took. So a slow model rates longer pieces, instead of
falling further and further behind.
"""

CONTEXT_CHARACTERS = 800
"""A new piece is rated together with this much of the text before it, so that each rating costs the same."""

ASKED_CHARACTERS = 4_000
"""The most characters of the prompt, counted from its end, that a rater is given together with the answer."""


class ModelRater:
    """Implements `safety.base.SafetyRater` with a model in a rater process."""

    def __init__(
        self,
        raters: Raters,
        model: RatingModel,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._raters = raters
        self._model = model
        self._metrics = metrics
        self._monotonic = monotonic

    async def rate(self, passage: Passage, *, owner: str = "") -> Assessment:
        """See `SafetyRater.rate`. If the rater process dies, a new one is asked once."""
        assignment = RatingAssignment(model=self._model, passages=(passage,), owner=owner)
        try:
            (assessment,) = await self._raters.rate(assignment)
        except WorkerDied:
            self._metrics.worker_deaths.labels("rater").inc()
            (assessment,) = await self._raters.rate(assignment)
        return assessment

    def follow(self, asked: str, *, owner: str = "") -> "ModelFollower":
        """See `SafetyRater.follow`."""
        return ModelFollower(self, asked[-ASKED_CHARACTERS:], owner, self._monotonic)


class ModelFollower:
    """Implements `safety.base.Follower`. A probability never falls as the text grows."""

    def __init__(self, rater: ModelRater, asked: str, owner: str, monotonic: Callable[[], float]) -> None:
        self._rater = rater
        self._asked = asked
        self._owner = owner
        self._monotonic = monotonic
        self._rests_until = 0.0
        self._context = ""
        self._fresh = ""
        self._assessment = HARMLESS

    async def add(self, text: str, *, last: bool) -> PartialAssessment:
        """See `Follower.add`."""
        self._fresh += text
        if self._fresh and (last or self._is_time()):
            await self._rate()
        return PartialAssessment(assessment=self._assessment, held=len(self._fresh))

    def _is_time(self) -> bool:
        return len(self._fresh) >= RATE_EVERY_CHARACTERS and self._monotonic() >= self._rests_until

    async def _rate(self) -> None:
        began = self._monotonic()
        known = self._context + self._fresh
        passage = Passage(text=known, speaker=Speaker.MODEL, asked=self._asked)
        found = await self._rater.rate(passage, owner=self._owner)
        ended = self._monotonic()
        self._rests_until = ended + (ended - began)
        self._assessment = self._assessment.or_worse(found)
        self._context, self._fresh = known[-CONTEXT_CHARACTERS:], ""
