"""Rating by a model: through the executor, where the model is, a piece of a growing text at a time."""

import time
from collections.abc import Callable

from tuningfork.domain.generation import Speaker
from tuningfork.domain.rater import Passage, RatingModel
from tuningfork.domain.safety import HARMLESS, Assessment
from tuningfork.execution.base import Executor, RatingAssignment, WorkerDied
from tuningfork.safety.base import Verdict
from tuningfork.service.metrics import Metrics

RATE_EVERY_CHARACTERS = 80
"""A growing text is rated when so much has come, about a line, and at its end; what is not rated is held.

After a rating nothing is rated for as long as that took: a slow model rates longer pieces, not ever later ones.
"""

CONTEXT_CHARACTERS = 800
"""A new piece is rated with so much of what came before it, so that each rating costs the same."""

ASKED_CHARACTERS = 4_000
"""The end of what was asked, for raters who want to see it."""


class ModelRater:
    """Implements `safety.base.SafetyRater` with a model behind the executor."""

    def __init__(
        self,
        executor: Executor,
        model: RatingModel,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor = executor
        self._model = model
        self._metrics = metrics
        self._monotonic = monotonic

    async def rate(self, passage: Passage) -> Assessment:
        """See `SafetyRater.rate`. A rater that died is asked once more: a fresh one may have no trouble."""
        assignment = RatingAssignment(model=self._model, passages=(passage,))
        try:
            (assessment,) = await self._executor.rate(assignment)
        except WorkerDied:
            self._metrics.worker_deaths.labels("rater").inc()
            (assessment,) = await self._executor.rate(assignment)
        return assessment

    def follow(self, asked: str) -> "ModelFollower":
        """See `SafetyRater.follow`."""
        return ModelFollower(self, asked[-ASKED_CHARACTERS:], self._monotonic)


class ModelFollower:
    """Implements `safety.base.Follower`. What was found once stays: a text does not become harmless by going on."""

    def __init__(self, rater: ModelRater, asked: str, monotonic: Callable[[], float]) -> None:
        self._rater = rater
        self._asked = asked
        self._monotonic = monotonic
        self._rests_until = 0.0
        self._context = ""
        self._fresh = ""
        self._assessment = HARMLESS

    async def add(self, text: str, *, last: bool) -> Verdict:
        """See `Follower.add`."""
        self._fresh += text
        if self._fresh and (last or self._is_time()):
            await self._rate()
        return Verdict(assessment=self._assessment, held=len(self._fresh))

    def _is_time(self) -> bool:
        return len(self._fresh) >= RATE_EVERY_CHARACTERS and self._monotonic() >= self._rests_until

    async def _rate(self) -> None:
        began = self._monotonic()
        known = self._context + self._fresh
        found = await self._rater.rate(Passage(text=known, speaker=Speaker.MODEL, asked=self._asked))
        ended = self._monotonic()
        self._rests_until = ended + (ended - began)
        self._assessment = self._assessment.or_worse(found)
        self._context, self._fresh = known[-CONTEXT_CHARACTERS:], ""
