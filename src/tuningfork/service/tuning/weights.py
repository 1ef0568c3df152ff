"""Checks that the weights of a tuned model are in the data directory. Errors do not name paths."""

import logging
from contextlib import suppress

from tuningfork.artifacts.base import AdapterOfOtherWeights, ArtifactDamaged, ArtifactMissing
from tuningfork.artifacts.known_damage import states_of
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import ModelRef, TunedRef
from tuningfork.domain.refusals import BaseReplaced, WeightsLost
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.identity.keys import model_for
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

logger = logging.getLogger(__name__)


def check_weights(
    database: Database, artifacts: Artifacts, principal: Principal, model_id: TunedModelId, adapter: ArtifactRef
) -> None:
    """Make sure that the model's adapter is there with files of the right sizes, and not found to be damaged.

    The content is not compared with what was written, since that would read all of it.

    Raises:
        NotFound: the model was deleted at this moment.
        WeightsLost: its adapter is missing or damaged.

    """
    try:
        with artifacts.store.reading(adapter) as directory:
            artifacts.damage.is_known(adapter, states_of(directory))
    except (ArtifactMissing, ArtifactDamaged, FileNotFoundError) as error:
        with database.read() as connection:
            model_for(connection, principal, model_id, Action.GET)
        missing = ArtifactMissing(adapter) if isinstance(error, FileNotFoundError) else error
        raise lost(TunedRef(model_id), missing) from error


def note_damage(artifacts: Artifacts, adapter: ArtifactRef, error: ArtifactDamaged) -> None:
    """Remember that a generator found the adapter damaged, so that `check_weights` says so until its files change."""
    if isinstance(error, AdapterOfOtherWeights):
        return
    with suppress(ArtifactMissing, ArtifactDamaged, OSError), artifacts.store.reading(adapter) as directory:
        artifacts.damage.note(adapter, states_of(directory), error)


def lost(model: ModelRef, error: ArtifactMissing | ArtifactDamaged) -> WeightsLost | BaseReplaced:
    """The error for callers of a model whose weights cannot be used. It does not name paths; they are logged."""
    if isinstance(error, AdapterOfOtherWeights):
        logger.error("%s: %s", model, error.message, extra={"action": "base_replaced"})
        return BaseReplaced(model)
    logger.error("%s lacks its weights: %s", model, error.message, extra={"action": "weights_lost"})
    return WeightsLost(model, missing=isinstance(error, ArtifactMissing))
