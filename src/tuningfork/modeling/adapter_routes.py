"""Which adapters the tokens of a pass take, and what they add to the base's products.

A route is asked once for each group of layers: `add` on the way forward, `backward` on the way back.

Shape suffixes: T tokens of the pass, B rows among them, D inputs of a group's layers, O their outputs side by side,
R ranks of its layers side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from tuningfork.modeling import kernels
from tuningfork.modeling.adapter_tables import AdapterTables, GroupTable, GroupWeights


class Route(Protocol):
    """Adapters for the tokens of a pass."""

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> Any:
        """Add the adapters' share of the group's outputs to `y_TO`; returns what `backward` needs."""
        ...

    def backward(self, group: int, slope_TO: Tensor, x_TD: Tensor, kept: Any, slope_TD: Tensor | None) -> None:
        """Add to the gradients of trained adapters and, if it is given, to the inputs' gradient `slope_TD`."""
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter at every group of layers; `gradients` has the same layout, None: it is not trained."""

    groups: Sequence[GroupWeights]
    scale: float
    gradients: Sequence[GroupWeights] | None


@dataclass(frozen=True, slots=True)
class Uniform:
    """All tokens take the same adapter."""

    adapter: Adapter

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> Tensor:
        """See `Route.add`; what is kept is A x."""
        own = self.adapter.groups[group]
        low_TR = linear(x_TD, own.a_RD)
        begin = 0
        for place, b_OR in enumerate(own.bs_OR):
            end = begin + len(b_OR)
            low = low_TR[:, place * own.rank : (place + 1) * own.rank]
            y_TO[:, begin:end].addmm_(low, b_OR.t(), alpha=self.adapter.scale)
            begin = end
        return low_TR

    def backward(self, group: int, slope_TO: Tensor, x_TD: Tensor, kept: Tensor, slope_TD: Tensor | None) -> None:
        """See `Route.backward`."""
        own, scale = self.adapter.groups[group], self.adapter.scale
        slope_TR = torch.empty_like(kept)
        gradients = self.adapter.gradients[group] if self.adapter.gradients is not None else None
        begin = 0
        for place, b_OR in enumerate(own.bs_OR):
            end, columns = begin + len(b_OR), slice(place * own.rank, (place + 1) * own.rank)
            slope = slope_TO[:, begin:end]
            torch.mm(slope, b_OR, out=slope_TR[:, columns])
            if gradients is not None:
                gradients.bs_OR[place].addmm_(slope.t(), kept[:, columns], alpha=scale)
            begin = end
        slope_TR.mul_(scale)
        if gradients is not None:
            gradients.a_RD.addmm_(slope_TR.t(), x_TD)
        if slope_TD is not None:
            slope_TD.addmm_(slope_TR, own.a_RD)


@dataclass(frozen=True, slots=True)
class Composite:
    """Ranges of tokens that each take a route of their own; tokens of no range stay the base's."""

    parts: Sequence[tuple[slice, Route]]

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> list[Any]:
        """See `Route.add`."""
        return [route.add(group, x_TD[rows], y_TO[rows]) for rows, route in self.parts]

    def backward(self, group: int, slope_TO: Tensor, x_TD: Tensor, kept: list[Any], slope_TD: Tensor | None) -> None:
        """See `Route.backward`."""
        for (rows, route), own in zip(self.parts, kept, strict=True):
            inner = None if slope_TD is None else slope_TD[rows]
            route.backward(group, slope_TO[rows], x_TD[rows], own, inner)


@dataclass(frozen=True, slots=True)
class Routes:
    """What a traced pass takes: `all` for its tokens, `tail` for those whose logits are asked for."""

    all: Route
    tail: Route


@dataclass(frozen=True, slots=True)
class _RankRows:
    """Rows whose adapters have one rank; `rows_B` None: all rows of the route, in order."""

    tables: Sequence[GroupTable]
    rank: int
    rows_B: Tensor | None
    places_B: Tensor
    bags: dict[int, tuple[Tensor, Tensor]]
    """For each number of summands: which table rows are summed, row by row, and where each row's begin."""
    skipped_B1: Tensor | None = None
    """Rows to which nothing is added; kernels know them by their negative places."""

    def add(self, group: int, x_BD: Tensor, y_BO: Tensor) -> None:
        table = self.tables[group]
        if kernels.serve(y_BO, "adapters"):
            from tuningfork.modeling.kernels.adapter_rows import add_rows  # noqa: PLC0415  there may be no Triton

            add_rows(x_BD, table.a_CDR, table.bs_CRO, self.rank, self.places_B, y_BO, self.rows_B)
            return
        x = x_BD if self.rows_B is None else x_BD.index_select(0, self.rows_B)
        layers = len(table.bs_CRO)
        low_LBR = self._summed(x, table.a_CDR).view(len(x), layers, self.rank)
        if layers > 1:
            low_LBR = low_LBR.transpose(0, 1).contiguous()
        begin = 0
        for place, b_CRO in enumerate(table.bs_CRO):
            end = begin + b_CRO.shape[2]
            added = self._summed(low_LBR[place] if layers > 1 else low_LBR[:, 0], b_CRO)
            if self.skipped_B1 is not None:
                added.masked_fill_(self.skipped_B1, 0)
            if self.rows_B is None:
                y_BO[:, begin:end].add_(added)
            else:
                y_BO[:, begin:end].index_add_(0, self.rows_B, added)
            begin = end

    def _summed(self, weights_BN: Tensor, table_CNM: Tensor) -> Tensor:
        """For each row b the sum over n of weights[b, n] * table[its place, n]: `BM`."""
        if table_CNM.device.type != "cpu":
            return torch.bmm(weights_BN[:, None], table_CNM.index_select(0, self.places_B))[:, 0]
        indices, begins_B = self._bag(table_CNM.shape[1])
        table = table_CNM.view(-1, table_CNM.shape[2])
        # The operator below `torch.nn.functional.embedding_bag`, which would lay out the bags anew at each call.
        found = torch._embedding_bag_forward_only(  # noqa: SLF001
            table, indices, begins_B, False, _SUM, False, weights_BN.reshape(-1)
        )
        return found[0]

    def _bag(self, count: int) -> tuple[Tensor, Tensor]:
        found = self.bags.get(count)
        if found is None:
            indices = (self.places_B[:, None] * count + torch.arange(count, dtype=torch.int32)).flatten()
            begins_B = torch.arange(0, len(indices), count, dtype=torch.int32)
            found = self.bags[count] = indices, begins_B
        return found


_SUM = 0
"""The mode of an embedding bag."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Each token takes an adapter of its own, from the tables of adapters that serve; none is trained.

    A row's numbers depend on its own adapter alone, whoever else is in the batch.
    """

    ranks: Sequence[_RankRows]

    @classmethod
    def of(cls, tables: AdapterTables, rows: Sequence[tuple[int, int]]) -> "Rows":
        """Rows and their slots, in ascending order from row 0."""
        by_rank: dict[int, list[tuple[int, int]]] = {}
        for row, slot in rows:
            by_rank.setdefault(tables.rank_of(slot), []).append((row, slot))
        whole = len(by_rank) == 1 and rows[-1][0] + 1 == len(rows)
        return cls([_rank_rows(tables, rank, own, whole=whole) for rank, own in by_rank.items()])

    @classmethod
    def at(cls, ranks: Sequence[tuple[int, Sequence[GroupTable], Tensor]]) -> "Rows":
        """All rows of a pass: for each rank its tables and where in them each row's is, `B`; negative: in none."""
        return cls([_rows_at(*each) for each in ranks])

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> None:
        """See `Route.add`; nothing is kept."""
        for each in self.ranks:
            each.add(group, x_TD, y_TO)

    def backward(self, group: int, slope_TO: Tensor, x_TD: Tensor, kept: Any, slope_TD: Tensor | None) -> None:
        """Rows serve: nothing is trained.

        Raises:
            NotImplementedError: always.

        """
        raise NotImplementedError("adapters that serve row by row are not trained; load them with trainable=True")


def _rows_at(rank: int, groups: Sequence[GroupTable], places_B: Tensor) -> _RankRows:
    if kernels.serve(places_B, "adapters"):
        return _RankRows(tables=groups, rank=rank, rows_B=None, places_B=places_B, bags={})
    own_B = places_B.int().clamp_(min=0)
    return _RankRows(tables=groups, rank=rank, rows_B=None, places_B=own_B, bags={}, skipped_B1=places_B[:, None] < 0)


def _rank_rows(tables: AdapterTables, rank: int, rows: Sequence[tuple[int, int]], *, whole: bool) -> _RankRows:
    own = tables.of_rank(rank)
    device = own.groups[0].a_CDR.device
    return _RankRows(
        tables=own.groups,
        rank=rank,
        rows_B=None if whole else torch.tensor([row for row, _ in rows], device=device),
        places_B=torch.tensor([own.places[slot] for _, slot in rows], dtype=torch.int32, device=device),
        bags={},
    )
