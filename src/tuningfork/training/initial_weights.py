"""The adapter weights that a job starts from, and whether there is room for them."""

from collections.abc import Callable

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import FailedPrecondition, InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.slots import AdapterSlots
from tuningfork.modeling.device.available_memory import Memory, available_memory
from tuningfork.modeling.memory_plan import check_adapter_fits
from tuningfork.training.jobs import TrainingJob


class SourceDamaged(FailedPrecondition):
    """The adapter that a job goes on from cannot be used. It was complete when the job was created.

    Args:
        reason: what is wrong with it, without a path.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            "the adapter of the tuned model that this job goes on from is missing or damaged on this server: "
            f"{reason}. The learning rate and the examples are not the cause. Go on from another tuned model, or have "
            "the server's operator restore this one from a backup"
        )


def check_room(
    slots: AdapterSlots,
    shape: AdapterShape,
    measure: Callable[[torch.device], Memory | None] = available_memory,
    *,
    converted: bool = False,
) -> None:
    """Check that there is enough memory to train an adapter. A request may choose any rank up to 256.

    Args:
        slots: where it would be.
        shape: its shape.
        measure: the memory of a device.
        converted: whether the base's weights had another type in their files (`LoadedBase.converted`).

    Raises:
        InvalidArgument: the machine has too little, whatever else is in memory.
        MemoryShort: there is too little at the moment.

    """
    memory, itemsize = measure(slots.device), slots.dtype.itemsize
    check_adapter_fits(slots.layers.values(), memory, rank=shape.rank, itemsize=itemsize, converted=converted)


def initial_weights(job: TrainingJob, slots: AdapterSlots) -> Tensor:
    """The numbers `P` of the job's initial adapter, on the CPU; nothing else refers to them.

    Raises:
        SourceDamaged: the directory holds no adapter that can be read, one of another shape, or one for another base.

    """
    assert job.initial_adapter is not None  # noqa: S101 - asked by the caller
    try:
        weights = adapter_format.load(job.initial_adapter)
        if weights.shape == job.adapter:
            return slots.flatten(weights)
    except adapter_format.AdapterUnreadable as error:
        raise SourceDamaged(error.reason) from error
    except InvalidArgument as error:
        raise SourceDamaged(error.message.replace(str(job.initial_adapter), "its directory")) from error
    raise SourceDamaged(
        f"it has rank {weights.shape.rank} and alpha {weights.shape.alpha:g}, and the job rank {job.adapter.rank} and "
        f"alpha {job.adapter.alpha:g}"
    )
