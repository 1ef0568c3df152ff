"""A pool of adapters in memory beside a base: loaded on request, and evicted least recently used first."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tuningfork.modeling.adapters.slots import AdapterSlots
from tuningfork.modeling.adapters.weights import AdapterWeights


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many adapters may stay in memory, and how many bytes their weights may take together."""

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


Adapter = TypeVar("Adapter", bound=Hashable)
"""What identifies an adapter, such as its directory or its reference."""


def _ignore_change(adapter: Hashable, size: int | None) -> None:
    """The default of `on_change`: does nothing."""


def _ignore_unload(generation: int) -> None:
    """The default of `on_unload`: does nothing."""


class AdapterPool(Generic[Adapter]):
    """Adapters in the slots of one base.

    An adapter's files never change once it is complete, so it is read once. Not thread-safe.

    Args:
        slots: where the pool loads its adapters. It leaves other adapters there alone.
        limits: beyond these, unused adapters are evicted. Adapters that are in use or pinned by `keep` may exceed the
            limits, so no request is refused for lack of memory.
        read: reads an adapter's weights.
        on_change: called with an adapter and its size in bytes when it is loaded, and with the adapter and None when it
            is evicted.
        on_unload: called with the generation of an adapter that leaves its slot (`AdapterSlots.generation`).

    """

    def __init__(
        self,
        slots: AdapterSlots,
        limits: PoolLimits,
        read: Callable[[Adapter], AdapterWeights],
        on_change: Callable[[Adapter, int | None], None] = _ignore_change,
        on_unload: Callable[[int], None] = _ignore_unload,
    ) -> None:
        self._slots = slots
        self._limits = limits
        self._read = read
        self._on_change = on_change
        self._on_unload = on_unload
        # In order of use, the least recently used first.
        self._residents: OrderedDict[Adapter, _Resident] = OrderedDict()
        self._bytes = 0
        self._kept: frozenset[Adapter] = frozenset()
        # Adapters to unload, which are in use.
        self._unwanted: set[Adapter] = set()

    def holds(self, adapter: Adapter) -> bool:
        """Whether the adapter is in memory."""
        return adapter in self._residents

    def keeps(self, adapter: Adapter) -> bool:
        """Whether the adapter is pinned."""
        return adapter in self._kept

    def slot_for(self, adapter: Adapter) -> int:
        """Load the adapter if it is not loaded, and return its slot. The adapter counts as used until `release`.

        Raises:
            InvalidArgument: there is no adapter that can be read, or it was made for another base.

        """
        resident = self._resident(adapter)
        resident.uses += 1
        return resident.slot

    def release(self, adapter: Adapter) -> None:
        """End one use of this adapter. An unused adapter stays loaded until the pool's limits evict it."""
        self._residents[adapter].uses -= 1
        self._unload_unwanted()
        self._evict()

    def keep(self, adapters: Collection[Adapter]) -> None:
        """Pin these adapters, and no others: once loaded, they stay in memory while unused.

        Nothing is loaded here: a pinned adapter is loaded by its first use, or by `load`.
        """
        self._kept = frozenset(adapters)
        self._evict()

    def forget(self, adapters: Collection[Adapter]) -> None:
        """Unload these adapters, pinned or not; those in use as soon as they are not. Unknown ones are ignored."""
        self._unwanted.update(adapter for adapter in adapters if adapter in self._residents)
        self._unload_unwanted()

    def load(self, adapter: Adapter) -> None:
        """Load the adapter before its first use.

        Raises:
            InvalidArgument: there is no adapter that can be read, or it was made for another base.

        """
        self._resident(adapter)

    def empty(self) -> None:
        """Unload all adapters, before the base itself is unloaded; none may be in use."""
        for adapter in [*self._residents]:
            self._leave(adapter)

    def _resident(self, adapter: Adapter) -> _Resident:
        resident = self._residents.get(adapter)
        if resident is None:
            weights = self._read(adapter)
            size = sum(tensor.numel() for tensor in weights.tensors.values()) * self._slots.dtype.itemsize
            # Others are evicted before the new adapter is loaded, so that both are never in memory.
            self._evict(adapters=1, size=size)
            resident = self._residents[adapter] = _Resident(self._slots.load(weights), size)
            self._bytes += size
            self._on_change(adapter, size)
        self._residents.move_to_end(adapter)
        return resident

    def _evict(self, *, adapters: int = 0, size: int = 0) -> None:
        """Evict adapters that are neither used nor pinned until this many more, of this total size in bytes, fit."""
        if self._has_room(adapters, size):
            return
        for adapter, resident in [*self._residents.items()]:
            if resident.uses or adapter in self._kept:
                continue
            self._leave(adapter)
            if self._has_room(adapters, size):
                return

    def _has_room(self, adapters: int, size: int) -> bool:
        return len(self._residents) + adapters <= self._limits.adapters and self._bytes + size <= self._limits.bytes

    def _unload_unwanted(self) -> None:
        for adapter in [each for each in self._unwanted if not self._residents[each].uses]:
            self._leave(adapter)

    def _leave(self, adapter: Adapter) -> None:
        resident = self._residents.pop(adapter)
        self._unwanted.discard(adapter)
        self._bytes -= resident.bytes
        self._on_unload(self._slots.generation(resident.slot))
        self._slots.unload(resident.slot)
        self._on_change(adapter, None)
