"""A job's whole state in one file: adapter, optimizer, and the place in its data.

The data order, and with it all randomness, is a function of the job's seed and step, so the step is the cursor, the
schedule and the state of the random numbers in one. The file is written aside and renamed: it is the old state or the
new one, never a torn one.

Shape suffix: P all numbers of one adapter.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tuningfork.domain.errors import InternalError
from tuningfork.modeling.disk import as_os_error, reach_disk
from tuningfork.training.optimizer import AdamW

FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """What a job is after `step` completed steps, on the CPU. `job` is a digest of all that defines the job."""

    job: str
    step: int
    weights_P: Tensor
    optimizer: AdamW


def save_state(directory: Path, state: TrainingState) -> None:
    """Make this the state that `load_state` finds in the directory, in one rename that has reached the disk.

    Raises:
        OSError: it could not be written, as when the disk is full; an earlier state is still there.

    """
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory / f".{FILE}.{os.getpid()}"
    tensors = {
        "weights": state.weights_P,
        "mean": state.optimizer.mean_P,
        "square": state.optimizer.square_P,
    }
    try:
        save_file(tensors, aside, metadata={"job": state.job, "step": str(state.step)})
        reach_disk(aside)
        aside.replace(directory / FILE)
    except SafetensorError as error:
        raise as_os_error(error) from error
    finally:
        # Half a file would only take the room that the next one needs.
        aside.unlink(missing_ok=True)
    reach_disk(directory)


def load_state(directory: Path, job: str) -> TrainingState | None:
    """The state last saved there, on the CPU; None if none ever was.

    Raises:
        InternalError: the file is not a checkpoint, or one of another job.

    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata()
            state = TrainingState(
                job=found["job"],
                step=int(found["step"]),
                weights_P=file.get_tensor("weights").clone(),
                optimizer=AdamW(file.get_tensor("mean").clone(), file.get_tensor("square").clone()),
            )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InternalError(f"{path} is not a checkpoint ({error}); delete it to train from the start") from error
    if state.job != job:
        raise InternalError(
            f"{path} is the checkpoint of another job, base or dataset; give each job a directory of its own, or "
            "delete the file to train from the start"
        )
    return state
