"""The weights of serving adapters, stacked in tables: one for each group of layers and rank.

For one row, an adapter's two products are weighted sums of table rows: the rows of A^T weighted by x, then the rows of
B^T weighted by A x. Embedding bags compute such sums, for a batch whose rows all have different adapters, in a tenth of
the time of a batched product in bfloat16 (docs/log.md).

Shape suffixes: C adapters that a table has room for, D inputs, O outputs, R rank (of a group: its layers' side by
side).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_FIRST_PLACES = 4


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """One adapter's weights at one group of layers: the A of all layers stacked, and each layer's B."""

    a_RD: Tensor
    bs_OR: tuple[Tensor, ...]

    @property
    def rank(self) -> int:
        """The rank of one layer."""
        return self.bs_OR[0].shape[1]

    def a_of(self, place: int) -> Tensor:
        """A of the layer with this index in the group."""
        return self.a_RD[place * self.rank : (place + 1) * self.rank]


@dataclass(slots=True)
class GroupTable:
    """All serving adapters of one rank at one group: A transposed, `a_CDR`, and each layer's B transposed, `bs_CRO`."""

    a_CDR: Tensor
    bs_CRO: list[Tensor]


@dataclass(slots=True)
class RankTables:
    """All tables of one rank. `places` maps a slot to its index; `version` changes when tensors are reallocated.

    Their room is doubled when they are full, and halved when a quarter of it is in use.
    """

    rank: int
    groups: list[GroupTable]
    places: dict[int, int]
    version: int

    @property
    def capacity(self) -> int:
        """How many adapters the tables have room for."""
        return self.groups[0].a_CDR.shape[0]


class AdapterTables:
    """The tables with the adapters of all slots for serving.

    Args:
        shapes: for each group of layers its D, and the O of each layer.
        dtype: the base's dtype.
        device: the base's device.

    """

    def __init__(
        self, shapes: Sequence[tuple[int, tuple[int, ...]]], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._shapes = shapes
        self._dtype = dtype
        self._device = device
        self._by_rank: dict[int, RankTables] = {}
        self._ranks: dict[int, int] = {}
        self._versions = itertools.count()

    def put(self, slot: int, rank: int, weights: Sequence[GroupWeights], scale: float) -> None:
        """Copy an adapter into the tables. B is multiplied by the scale before it is converted to the tables' dtype."""
        tables = self._by_rank.get(rank)
        if tables is None:
            tables = self._by_rank[rank] = RankTables(rank, self._empty(rank, _FIRST_PLACES), {}, next(self._versions))
        taken = set(tables.places.values())
        if len(taken) == tables.capacity:
            self._double(tables, rank)
        place = next(index for index in range(tables.capacity) if index not in taken)
        for table, own in zip(tables.groups, weights, strict=True):
            table.a_CDR[place].copy_(own.a_RD.t())
            for b_CRO, b_OR in zip(table.bs_CRO, own.bs_OR, strict=True):
                b_CRO[place].copy_(b_OR.t() * scale)
        tables.places[slot] = place
        self._ranks[slot] = rank

    def drop(self, slot: int) -> None:
        """Remove a slot's adapter; the last adapter of a rank frees the rank's tables."""
        rank = self._ranks.pop(slot)
        tables = self._by_rank[rank]
        del tables.places[slot]
        if not tables.places:
            del self._by_rank[rank]
        elif tables.capacity > _FIRST_PLACES and 4 * len(tables.places) <= tables.capacity:
            self._halve(tables)

    def of_rank(self, rank: int) -> RankTables:
        """The tables of one rank."""
        return self._by_rank[rank]

    def rank_of(self, slot: int) -> int:
        """The rank of a slot's adapter."""
        return self._ranks[slot]

    def version_of(self, rank: int) -> int | None:
        """The version of this rank's tables; None: there are none."""
        tables = self._by_rank.get(rank)
        return None if tables is None else tables.version

    def placed(self, slots: Sequence[int]) -> list[tuple[RankTables, list[int]]] | None:
        """For each rank of these slots' adapters: the rank's tables, and the index of each slot's adapter in them.

        The index is -1 if the slot's adapter has another rank, or the slot is `BASE_ALONE`. Returns None if one of the
        slots is in training, and so in no table.
        """
        ranks = {slot: self._ranks.get(slot, 0) for slot in slots if slot >= 0}
        if 0 in ranks.values():
            return None
        tables = [self._by_rank[rank] for rank in sorted(set(ranks.values()))]
        return [(own, [own.places.get(slot, -1) for slot in slots]) for own in tables]

    def weights(self, slot: int) -> list[GroupWeights]:
        """A slot's adapter as views of the tables, A `RD` and B `OR`; valid until the next `put` or `drop`."""
        tables = self._by_rank[self._ranks[slot]]
        place = tables.places[slot]
        return [
            GroupWeights(table.a_CDR[place].t(), tuple(b_CRO[place].t() for b_CRO in table.bs_CRO))
            for table in tables.groups
        ]

    def _empty(self, rank: int, places: int) -> list[GroupTable]:
        def table(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=self._dtype, device=self._device)

        return [
            GroupTable(table(places, inputs, len(outputs) * rank), [table(places, rank, each) for each in outputs])
            for inputs, outputs in self._shapes
        ]

    def _double(self, tables: RankTables, rank: int) -> None:
        tables.version = next(self._versions)
        # Groups are copied one after the other, so that only one group's table at a time is in memory twice.
        for table, more in zip(tables.groups, self._empty(rank, tables.capacity), strict=True):
            table.a_CDR = torch.cat((table.a_CDR, more.a_CDR))
            table.bs_CRO = [torch.cat(both) for both in zip(table.bs_CRO, more.bs_CRO, strict=True)]

    def _halve(self, tables: RankTables) -> None:
        tables.version = next(self._versions)
        half = tables.capacity // 2
        slots = list(tables.places)
        kept = torch.tensor([tables.places[slot] for slot in slots], device=self._device)
        tables.places = {slot: place for place, slot in enumerate(slots)}
        for table in tables.groups:
            table.a_CDR = _of_first(table.a_CDR, kept, half)
            table.bs_CRO = [_of_first(b_CRO, kept, half) for b_CRO in table.bs_CRO]


def _of_first(table_CXY: Tensor, kept: Tensor, room: int) -> Tensor:
    """A table with room for so many adapters: first those that are kept, in this order."""
    smaller_CXY = table_CXY.new_zeros((room, *table_CXY.shape[1:]))
    smaller_CXY[: len(kept)] = table_CXY[kept]
    return smaller_CXY
