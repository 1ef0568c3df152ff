"""Checks that a job goes on over the weights with which it began, kept as they were then."""

from pathlib import Path

from tuningfork.domain.base_model import WeightType
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.training.savepoint import SavepointOverOtherWeights, recorded_base, recorded_weights


class BaseWeightsReplaced(FailedPrecondition):
    """What a job goes on from was trained over other weights than the base has now."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the weights of the base model were replaced: {what} was trained over other weights than the base has "
            "now. The server's operator can put the earlier weights back, and serve the new ones under another name. "
            "Or tune again, from the base"
        )


def check_same_base(
    fingerprint: str | None, kept_in: WeightType, *, savepoint: Path | None, initial_adapter: Path | None
) -> None:
    """Check that both were made over weights of this fingerprint, and the savepoint over weights that were kept so.

    What does not say over which it was made is taken. An adapter may have been made over weights that were kept
    otherwise: they are the same base's.

    Args:
        fingerprint: that of the loaded base; None: it is not known, and nothing is compared with it.
        kept_in: what the loaded base's weights are kept in.
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
        if None not in (known, fingerprint) and known != fingerprint:
            raise BaseWeightsReplaced(what)
    then = recorded_weights(savepoint) if savepoint else None
    if then not in (None, kept_in):
        raise SavepointOverOtherWeights(then, kept_in)
