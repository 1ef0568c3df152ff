"""Which adapters lie beside a base: loaded when asked for, kept while used, the least recently used leaves first."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from tuningfork.domain.errors import FailedPrecondition
from tuningfork.modeling import adapter_format
from tuningfork.modeling.lora import AdapterSlots, AdapterWeights


@dataclass(frozen=True, slots=True)
class PoolRoom:
    """How much of adapters is kept in memory: so many, and so many bytes of their numbers."""

    adapters: int
    bytes: int

    def __post_init__(self) -> None:
        if self.adapters < 1 or self.bytes < 1:
            raise ValueError(
                f"an adapter pool holds at least one adapter of at least one byte; {self.adapters} adapters of "
                f"{self.bytes} bytes were given"
            )


@dataclass(slots=True)
class _Resident:
    slot: int
    bytes: int
    uses: int = 0


def _tell_nobody(directory: Path, size: int | None) -> None:
    """What is done where nobody asks."""


class AdapterPool:
    """Adapter directories in the slots of one base.

    An adapter's directory never changes once it is in place, so it is read once. Not thread-safe.

    Args:
        slots: where adapters are placed; slots that others loaded are left alone.
        room: what is kept. While more is in use or to be kept at once, more is kept: a request is never refused for
            it.
        tell: called with each adapter that comes and its size in bytes, and with each that goes and None.

    """

    def __init__(
        self, slots: AdapterSlots, room: PoolRoom, tell: Callable[[Path, int | None], None] = _tell_nobody
    ) -> None:
        self._slots = slots
        self._room = room
        self._tell = tell
        # In order of use, the least recently used first.
        self._residents: OrderedDict[Path, _Resident] = OrderedDict()
        self._bytes = 0
        self._kept: frozenset[Path] = frozenset()

    def slot_for(self, directory: Path) -> int:
        """The slot of this adapter, loaded if it is not there, and in use until `release` is called as often.

        Raises:
            InvalidArgument: the directory holds no adapter, or one made for another base.
            FailedPrecondition: its training diverged.

        """
        resident = self._resident(directory)
        resident.uses += 1
        return resident.slot

    def release(self, directory: Path) -> None:
        """Say that one request for this adapter has ended; it stays loaded while there is room."""
        self._residents[directory].uses -= 1
        self._evict()

    def keep(self, directories: Collection[Path]) -> None:
        """From now on these stay in memory, whether they are used or not, and no others do for this reason.

        They are loaded when they are first asked for, or now with `load`.
        """
        self._kept = frozenset(directories)
        self._evict()

    def load(self, directory: Path) -> None:
        """Load the adapter before it is asked for.

        Raises:
            InvalidArgument: the directory holds no adapter, or one made for another base.
            FailedPrecondition: its training diverged.

        """
        self._resident(directory)

    def empty(self) -> None:
        """Let all adapters go, before the base itself goes; none may be in use."""
        for directory in [*self._residents]:
            self._leave(directory)

    def _resident(self, directory: Path) -> _Resident:
        resident = self._residents.get(directory)
        if resident is None:
            weights = adapter_format.load(directory)
            _check_finite(weights)
            size = sum(tensor.numel() for tensor in weights.tensors.values()) * self._slots.dtype.itemsize
            # Evicted first, so that the memory is free when the new one comes.
            self._evict(adapters=1, size=size)
            resident = self._residents[directory] = _Resident(self._slots.load(weights), size)
            self._bytes += size
            self._tell(directory, size)
        self._residents.move_to_end(directory)
        return resident

    def _evict(self, *, adapters: int = 0, size: int = 0) -> None:
        """Make room for so many more adapters of this size, as far as what may leave allows."""
        if self._holds(adapters, size):
            return
        for directory, resident in [*self._residents.items()]:
            if resident.uses or directory in self._kept:
                continue
            self._leave(directory)
            if self._holds(adapters, size):
                return

    def _holds(self, adapters: int, size: int) -> bool:
        return len(self._residents) + adapters <= self._room.adapters and self._bytes + size <= self._room.bytes

    def _leave(self, directory: Path) -> None:
        resident = self._residents.pop(directory)
        self._bytes -= resident.bytes
        self._slots.unload(resident.slot)
        self._tell(directory, None)


def _check_finite(weights: AdapterWeights) -> None:
    # Adapters share products in a mixed batch, where infinity would reach the rows of others: 0 times it is not 0.
    if not all(torch.isfinite(tensor).all() for tensor in weights.tensors.values()):
        raise FailedPrecondition(
            "the tuned model has weights that are not finite numbers: its training diverged. Tune it again with a "
            "lower learning rate"
        )
