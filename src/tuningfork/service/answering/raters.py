"""Builds the rater that the server's operator chose."""

import logging

from tuningfork.domain.conversation import Speaker
from tuningfork.domain.rater import Passage
from tuningfork.execution.base import Raters
from tuningfork.safety.configuration import RaterChoice
from tuningfork.safety.lexical import LexicalRater
from tuningfork.service.answering.model_rater import ModelRater
from tuningfork.service.answering.safety import Safety
from tuningfork.service.metrics import Metrics

logger = logging.getLogger(__name__)


async def safety_of(choice: RaterChoice | None, raters: Raters, metrics: Metrics) -> Safety:
    """The safety use cases with the rater that the operator chose; `choice` None: no text is rated.

    If the rater is a model, it is loaded and rates one text here, so that an unusable model is noticed at the start.

    Raises:
        InternalError, WorkerDied: the model cannot be used.

    """
    if choice is None:
        return Safety()
    if choice.model is None:
        return Safety(LexicalRater(), default_threshold=choice.default_threshold, metrics=metrics)
    rater = ModelRater(raters, choice.model, metrics)
    logger.info("loading the model that rates texts: %s", choice.model.location, extra={"action": "rater_loading"})
    await rater.rate(Passage(text="", speaker=Speaker.USER))
    return Safety(rater, default_threshold=choice.default_threshold, metrics=metrics)
