"""Checks that a job goes on over the weights with which it began, kept as they were then."""

from pathlib import Path

from tuningfork.domain.errors import FailedPrecondition
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.savepoint import SavepointOverOtherWeights, recorded_base, recorded_weights


class BaseWeightsReplaced(FailedPrecondition):
    """What a job goes on from was trained over other weights than the base has now."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the weights of the base model were replaced: {what} was trained over other weights than the base has "
            "now. The server's operator can put the earlier weights back, and serve the new ones under another name. "
            "Or tune again, from the base"
        )


def check_same_base(base: LoadedBase, *, savepoint: Path | None, initial_adapter: Path | None) -> None:
    """Check that both were made over this base's weights, and the savepoint over weights that were kept as they are.

    What does not say over which it was made is taken. An adapter may have been made over weights that were kept
    otherwise: they are the same base's.

    Args:
        base: the loaded base. If its fingerprint is not known, nothing is compared with it.
        savepoint: the directory of the job's savepoint; None: it has none.
        initial_adapter: the directory of the adapter that it goes on from; None: it begins with a new one.

    Raises:
        BaseWeightsReplaced: one of them was made over other weights.
        SavepointOverOtherWeights: the savepoint was made over weights that were kept otherwise.

    """
    made_on = {
        "the adapter that this job goes on from": initial_adapter and adapter_format.base_fingerprint(initial_adapter),
        "what this job has computed so far": savepoint and recorded_base(savepoint),
    }
    for what, known in made_on.items():
        if None not in (known, base.fingerprint) and known != base.fingerprint:
            raise BaseWeightsReplaced(what)
    then = recorded_weights(savepoint) if savepoint else None
    if then is not None and then is not base.weights:
        raise SavepointOverOtherWeights(then, base.weights)
