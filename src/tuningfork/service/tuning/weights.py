"""Checks that the weights of a tuned model are in the data directory. Errors do not name paths."""

import logging

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import ModelRef, TunedRef
from tuningfork.domain.refusals import WeightsLost
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.identity.keys import model_for
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

logger = logging.getLogger(__name__)


def check_weights(
    database: Database, artifacts: Artifacts, principal: Principal, model_id: TunedModelId, adapter: ArtifactRef
) -> None:
    """Make sure that the model's adapter is there with files of the right sizes.

    Raises:
        NotFound: the model was deleted at this moment.
        WeightsLost: its adapter is missing or damaged.

    """
    try:
        with artifacts.store.reading(adapter):
            return
    except (ArtifactMissing, ArtifactDamaged) as error:
        with database.read() as connection:
            model_for(connection, principal, model_id, Action.GET)
        raise lost(TunedRef(model_id), error) from error


def lost(model: ModelRef, error: ArtifactMissing | ArtifactDamaged) -> WeightsLost:
    """The error for callers of a model whose weights are lost. It does not name paths; they are logged."""
    logger.error("%s lacks its weights: %s", model, error.message, extra={"action": "weights_lost"})
    return WeightsLost(model, missing=isinstance(error, ArtifactMissing))
