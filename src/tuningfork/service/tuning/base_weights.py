"""Compares the weights that a base model has now with those over which a tuned model was made, by their fingerprints.

The workers compare what they have loaded. This is for callers who get a model or tune on it: it reads headers of files
and loads no weights.
"""

import logging
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tuningfork.artifacts.base import AdapterOfOtherWeights
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import EMBEDDED, EMBEDDED_NAME, BaseModel, PublicModel
from tuningfork.domain.errors import Busy, ResourceExhausted, TuningforkError
from tuningfork.domain.references import TunedRef
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.modeling.files.base_files import base_directory, weight_files
from tuningfork.modeling.files.stored_weights import fingerprint, metadata_of
from tuningfork.service.tuning.tuned import Tuned
from tuningfork.service.tuning.weights import lost
from tuningfork.store import tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

logger = logging.getLogger(__name__)

_WEIGHTS = "adapter_model.safetensors"

_FileState = tuple[str, int, int, int]


def check_base(base: PublicModel | None, artifacts: Artifacts, tuned: Tuned, adapter: ArtifactRef) -> None:
    """Make sure that the base model has the weights over which the tuned model was made.

    What is not known is not compared: an adapter of an earlier version or from elsewhere for which nobody recorded the
    weights, and a base whose files are not on this machine. `base` None: this server does not serve it.

    Raises:
        BaseReplaced: it has other weights.

    """
    made_on = tuned.job.base_fingerprint
    # What is wrong with an adapter that cannot be read, others tell.
    with suppress(TuningforkError, OSError):
        made_on = _made_on(artifacts, adapter) or made_on
    if base is None or made_on is None:
        return
    if fingerprint_now(base.base) not in (None, made_on):
        raise lost(TunedRef(tuned.model.id), AdapterOfOtherWeights())


def recorded_base(
    database: Database, artifacts: Artifacts, base: PublicModel, model_id: TunedModelId, adapter: ArtifactRef
) -> str | None:
    """What is recorded of the weights over which the model was made; recorded now if nobody knows, and if it is served.

    Returns:
        A fingerprint; None: the adapter's file has it, or it cannot be known or written.

    """
    with database.read() as connection:
        known = tuning_jobs.base_fingerprint(connection, model_id)
    if known is not None:
        return known
    try:
        now = None if _made_on(artifacts, adapter) is not None else fingerprint_now(base.base)
    except (TuningforkError, OSError):
        return None
    if now is None:
        return None
    said = "tuned model %s does not say over which weights it was made; those that %s has now count from here on"
    with suppress(Busy, ResourceExhausted):
        with database.write() as connection:
            tuning_jobs.note_base_fingerprint(connection, model_id, now)
        logger.info(said, model_id, base.base.name, extra={"action": "base_noted", "model": model_id})
    return now


def fingerprint_now(base: BaseModel) -> str | None:
    """The fingerprint of a base model's weights; None: its files are not on this machine, or cannot be read."""
    try:
        if base.is_on_hub:
            # Without a revision, the directory changes when a worker fetches a newer one.
            found = _in_hub_cache.__wrapped__ if base.revision is None else _in_hub_cache
            directory = found(base.location, base.revision)
        else:
            directory = base_directory(EMBEDDED_NAME if base.location == EMBEDDED else base.location, fetch=False)
        return _fingerprint(tuple(map(_state_of, weight_files(directory))))
    except (TuningforkError, OSError):
        return None


@lru_cache(maxsize=64)
def _in_hub_cache(location: str, revision: str | None) -> Path:
    return base_directory(location, revision=revision, fetch=False)


@lru_cache(maxsize=64)
def _fingerprint(files: tuple[_FileState, ...]) -> str:
    return fingerprint([Path(path) for path, *_ in files])


def _made_on(artifacts: Artifacts, adapter: ArtifactRef) -> str | None:
    """The fingerprint that an adapter's file has; None: it has none.

    Raises:
        TuningforkError, OSError: the file cannot be read.

    """
    with artifacts.store.reading(adapter) as directory:
        return _fingerprint_in(_state_of(directory / _WEIGHTS))


@lru_cache(maxsize=4096)
def _fingerprint_in(file: _FileState) -> str | None:
    return metadata_of(Path(file[0])).get("base_fingerprint")


def _state_of(path: Path) -> _FileState:
    """What changes if a file is written or replaced."""
    state = path.stat()
    return str(path), state.st_ino, state.st_size, state.st_mtime_ns
