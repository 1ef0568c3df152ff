"""A savepoint: the whole state of a training job in one file, from which the job resumes with identical bits.

It holds the adapter's weights, the optimizer's moments and the number of completed steps. The only randomness is the
order of the data, which follows from the job's seed. So the number of steps also gives the position in the data, the
schedule and the random state. The file is written under another name and renamed, so that after a crash there is
either the old state or the new one.

Shape suffix: P all numbers of one adapter.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tuningfork.domain.base_model import WeightType
from tuningfork.domain.errors import FailedPrecondition, InternalError
from tuningfork.modeling.files.disk import as_os_error, reach_disk
from tuningfork.training.optimizer import AdamW

FILE = "savepoint.safetensors"


class SavepointDamaged(InternalError):
    """The savepoint cannot be resumed from: it cannot be read, or belongs to another job."""


class SavepointOverOtherWeights(FailedPrecondition):
    """The savepoint was computed over the base's weights as they were kept then, and they are kept otherwise now."""

    def __init__(self, then: WeightType, now: WeightType) -> None:
        super().__init__(
            f"what this job has computed so far was computed over a base with --weights {then}, and the server has "
            f"--weights {now} now, so the job cannot go on from there; train it from the start, or start the server "
            f"with --weights {then} again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """A job's state after `step` completed steps, on the CPU. `job` is a digest of everything that defines the job.

    `base` is the fingerprint of the base's weights, and `kept_in` what they were kept in; None: it is not known.
    """

    job: str
    base: str | None = None
    kept_in: WeightType | None = None
    step: int
    weights_P: Tensor
    optimizer: AdamW


def save_state(directory: Path, state: TrainingState) -> None:
    """Write the state into the directory, replacing an earlier one; returns when it has reached the disk.

    Raises:
        OSError: the state could not be written, for example since the disk is full; an earlier state is still there.

    """
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory / f".{FILE}.{os.getpid()}"
    tensors = {
        "weights": state.weights_P,
        "mean": state.optimizer.mean_P,
        "square": state.optimizer.square_P,
    }
    try:
        known = {} if state.base is None else {"base": state.base}
        known |= {} if state.kept_in is None else {"weights": state.kept_in.value}
        save_file(tensors, aside, metadata={"job": state.job, "step": str(state.step), **known})
        reach_disk(aside)
        aside.replace(directory / FILE)
    except SafetensorError as error:
        raise as_os_error(error) from error
    finally:
        # An incomplete file would only take disk space.
        aside.unlink(missing_ok=True)
    reach_disk(directory)


def recorded_job(directory: Path) -> str | None:
    """The job digest in the directory's savepoint; None if there is no savepoint, or a damaged one.

    Raises:
        OSError: the system cannot read it at the moment.

    """
    return _recorded(directory, "job")


def recorded_base(directory: Path) -> str | None:
    """The fingerprint of the base's weights in the directory's savepoint; None as in `recorded_job`, or of old ones.

    Raises:
        OSError: the system cannot read it at the moment.

    """
    return _recorded(directory, "base")


def recorded_weights(directory: Path) -> WeightType | None:
    """What the base's weights were kept in while the directory's savepoint was computed; None as in `recorded_base`.

    Raises:
        OSError: the system cannot read it at the moment.

    """
    found = _recorded(directory, "weights")
    return WeightType(found) if found in set(WeightType) else None


def _recorded(directory: Path, name: str) -> str | None:
    path = directory / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found: str | None = (file.metadata() or {}).get(name)
    except SafetensorError:
        return None
    return found


def load_state(directory: Path, job: str, numbers: int | None = None) -> TrainingState | None:
    """Read the directory's state onto the CPU; None if there is none.

    Args:
        directory: where `save_state` wrote it.
        job: the digest of the job.
        numbers: how many numbers the job's adapter has; None: as many as the savepoint has.

    Raises:
        SavepointDamaged: the file is not a savepoint or is damaged, or belongs to another job.
        OSError: the system cannot read it at the moment.

    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata()
            state = TrainingState(
                job=found["job"],
                base=found.get("base"),
                kept_in=WeightType(found["weights"]) if "weights" in found else None,
                step=int(found["step"]),
                weights_P=file.get_tensor("weights").clone(),
                optimizer=AdamW(file.get_tensor("mean").clone(), file.get_tensor("square").clone()),
            )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SavepointDamaged(f"{path} is not a savepoint ({error}); delete it to train from the start") from error
    if state.job != job:
        raise SavepointDamaged(
            f"{path} is the savepoint of another job, base or dataset; give each job a directory of its own, or "
            "delete the file to train from the start"
        )
    if fault := _fault(state, numbers):
        raise SavepointDamaged(f"{path} is damaged ({fault}); delete it to train from the start")
    return state


def _fault(state: TrainingState, numbers: int | None) -> str | None:
    """What is wrong with the numbers of a state; None: nothing that can be seen."""
    vectors = (state.weights_P, state.optimizer.mean_P, state.optimizer.square_P)
    numbers = state.weights_P.numel() if numbers is None else numbers
    if state.step < 0 or any(vector_P.shape != (numbers,) for vector_P in vectors):
        return f"it is at step {state.step} and has {[tuple(each.shape) for each in vectors]} numbers, not {numbers}"
    if not all(torch.isfinite(vector_P).all() for vector_P in vectors) or (state.optimizer.square_P < 0).any():
        return "it has values that are not finite, or squares below 0"
    return None
