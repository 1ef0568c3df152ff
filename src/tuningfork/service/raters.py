"""The rater of a server, from what its operator chose."""

import logging

from tuningfork.domain.generation import Speaker
from tuningfork.domain.rater import Passage
from tuningfork.execution.base import Executor
from tuningfork.safety.configuration import RaterChoice
from tuningfork.safety.lexical import LexicalRater
from tuningfork.service.metrics import Metrics
from tuningfork.service.model_rater import ModelRater
from tuningfork.service.safety import Safety

logger = logging.getLogger(__name__)


async def safety_of(choice: RaterChoice | None, executor: Executor, metrics: Metrics) -> Safety:
    """What is done about harm on a server whose operator chose this; None: nothing.

    A model is loaded and asked once, so that one that cannot be used is known before anybody needs it.

    Raises:
        InternalError, WorkerDied: the model cannot be used.

    """
    if choice is None:
        return Safety()
    if choice.model is None:
        return Safety(LexicalRater(), default_threshold=choice.default_threshold, metrics=metrics)
    rater = ModelRater(executor, choice.model, metrics)
    logger.info("loading the model that rates texts: %s", choice.model.location, extra={"action": "rater_loading"})
    await rater.rate(Passage(text="", speaker=Speaker.USER))
    return Safety(rater, default_threshold=choice.default_threshold, metrics=metrics)
