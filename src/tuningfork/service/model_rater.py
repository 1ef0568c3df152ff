"""Rating by a model: through the executor, where the model is, a piece of a growing text at a time."""

from tuningfork.domain.generation import Speaker
from tuningfork.domain.rater import Passage, RatingModel
from tuningfork.domain.safety import HARMLESS, Assessment
from tuningfork.execution.base import Executor, RatingAssignment, WorkerDied
from tuningfork.safety.base import Verdict
from tuningfork.service.metrics import Metrics

RATE_EVERY_CHARACTERS = 80
"""A growing text is rated when so much has come, and at its end: about a line, which is held until then."""

CONTEXT_CHARACTERS = 800
"""A new piece is rated with so much of what came before it, so that each rating costs the same."""

ASKED_CHARACTERS = 4_000
"""The end of what was asked, for raters who want to see it."""


class ModelRater:
    """Implements `safety.base.SafetyRater` with a model behind the executor."""

    def __init__(self, executor: Executor, model: RatingModel, metrics: Metrics) -> None:
        self._executor = executor
        self._model = model
        self._metrics = metrics

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
        return ModelFollower(self, asked[-ASKED_CHARACTERS:])


class ModelFollower:
    """Implements `safety.base.Follower`. What was found once stays: a text does not become harmless by going on."""

    def __init__(self, rater: ModelRater, asked: str) -> None:
        self._rater = rater
        self._asked = asked
        self._context = ""
        self._fresh = ""
        self._assessment = HARMLESS

    async def add(self, text: str, *, last: bool) -> Verdict:
        """See `Follower.add`."""
        self._fresh += text
        if self._fresh and (last or len(self._fresh) >= RATE_EVERY_CHARACTERS):
            known = self._context + self._fresh
            found = await self._rater.rate(Passage(text=known, speaker=Speaker.MODEL, asked=self._asked))
            self._assessment = self._assessment.or_worse(found)
            self._context, self._fresh = known[-CONTEXT_CHARACTERS:], ""
        return Verdict(assessment=self._assessment, held=len(self._fresh))
