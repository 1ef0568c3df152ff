"""The adapters that serve, side by side in tables: one for each group of layers and rank.

Row by row, an adapter's two products are sums of a few table rows with weights: A's row d with x_d, B's row r with what
came of A. Embedding bags compute just that, for a batch whose rows are all on different adapters, in a tenth of the
time of a batched product in bfloat16 (docs/log.md).

Shape suffixes: C places of a table, D inputs, O outputs, R rank (of a group: the ranks of its layers, side by side).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_FIRST_PLACES = 4


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """One adapter at one group of layers: the A of all its layers one below the other, and each one's B."""

    a_RD: Tensor
    bs_OR: tuple[Tensor, ...]

    @property
    def rank(self) -> int:
        """Of one layer."""
        return self.bs_OR[0].shape[1]

    def a_of(self, place: int) -> Tensor:
        """A of one of the group's layers."""
        return self.a_RD[place * self.rank : (place + 1) * self.rank]


@dataclass(slots=True)
class GroupTable:
    """All adapters of one rank at one group: `a_CDR` transposed for sums over inputs, and `bs_CRO` likewise."""

    a_CDR: Tensor
    bs_CRO: list[Tensor]


@dataclass(slots=True)
class RankTables:
    """All adapters of one rank. `places` says where each slot's are; `version` changes when tensors are replaced."""

    rank: int
    groups: list[GroupTable]
    places: dict[int, int]
    version: int

    @property
    def capacity(self) -> int:
        """Places there are, taken or free."""
        return self.groups[0].a_CDR.shape[0]


class AdapterTables:
    """Where slots that serve keep their weights.

    Args:
        shapes: inputs, and each layer's outputs, of every group of layers.
        dtype: the base's.
        device: the base's.

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
        """Copy an adapter in; its B are multiplied by its scale, in the precision in which they come."""
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
        """Free the slot's place; the last of a rank frees the rank's tables."""
        rank = self._ranks.pop(slot)
        tables = self._by_rank[rank]
        del tables.places[slot]
        if not tables.places:
            del self._by_rank[rank]

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
        """The tables of each rank among these slots, and each slot's place in them; -1: its adapter is in others.

        Negative slots, which stand for the base alone, have a place in none. None: an adapter is in no tables.
        """
        ranks = {slot: self._ranks.get(slot, 0) for slot in slots if slot >= 0}
        if 0 in ranks.values():
            return None
        tables = [self._by_rank[rank] for rank in sorted(set(ranks.values()))]
        return [(own, [own.places.get(slot, -1) for slot in slots]) for own in tables]

    def weights(self, slot: int) -> list[GroupWeights]:
        """A slot's adapter as views of the tables, in the layers' usual layout; valid until the next `put`."""
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
        # Group by group, so that no more than one group's numbers lie in memory twice.
        for table, more in zip(tables.groups, self._empty(rank, tables.capacity), strict=True):
            table.a_CDR = torch.cat((table.a_CDR, more.a_CDR))
            table.bs_CRO = [torch.cat(both) for both in zip(table.bs_CRO, more.bs_CRO, strict=True)]
