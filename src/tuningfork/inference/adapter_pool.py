"""Which adapters lie beside a base: loaded when asked for, kept while used, the least recently used leaves first."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch

from tuningfork.domain.errors import FailedPrecondition
from tuningfork.modeling import adapter_format
from tuningfork.modeling.lora import AdapterSlots, AdapterWeights


@dataclass(slots=True)
class _Resident:
    slot: int
    pins: int = 0


class AdapterPool:
    """Adapter directories in the slots of one base.

    An adapter's directory never changes once it is in place, so it is read once. Not thread-safe.

    Args:
        slots: where adapters are placed; slots that others loaded are left alone.
        capacity: adapters kept in memory. While more are pinned at once, more are kept: a request is never refused for
            it. At least 1.

    """

    def __init__(self, slots: AdapterSlots, *, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"an adapter pool holds at least one adapter; a capacity of {capacity} was given")
        self._slots = slots
        self._capacity = capacity
        # In order of use, the least recently used first.
        self._residents: OrderedDict[Path, _Resident] = OrderedDict()

    def slot_for(self, directory: Path) -> int:
        """The slot of this adapter, loaded if it is not there, and pinned until `unpin` is called as often.

        Raises:
            InvalidArgument: the directory holds no adapter, or one made for another base.
            FailedPrecondition: its training diverged.

        """
        resident = self._residents.get(directory)
        if resident is None:
            weights = adapter_format.load(directory)
            _check_finite(weights)
            # Evicted first, so that the memory is free when the new one comes.
            self._evict(room_for=1)
            resident = self._residents[directory] = _Resident(self._slots.load(weights))
        self._residents.move_to_end(directory)
        resident.pins += 1
        return resident.slot

    def unpin(self, directory: Path) -> None:
        """Say that one request for this adapter has ended; it stays loaded while there is room."""
        self._residents[directory].pins -= 1
        self._evict(room_for=0)

    def _evict(self, *, room_for: int) -> None:
        idle = [directory for directory, resident in self._residents.items() if not resident.pins]
        excess = len(self._residents) + room_for - self._capacity
        for directory in idle[: max(excess, 0)]:
            self._slots.unload(self._residents.pop(directory).slot)


def _check_finite(weights: AdapterWeights) -> None:
    # Adapters share products in a mixed batch, where infinity would reach the rows of others: 0 times it is not 0.
    if not all(torch.isfinite(tensor).all() for tensor in weights.tensors.values()):
        raise FailedPrecondition(
            "the tuned model has weights that are not finite numbers: its training diverged. Tune it again with a "
            "lower learning rate"
        )
