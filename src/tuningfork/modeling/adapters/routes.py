"""Which adapters the tokens of a pass use, and the LoRA products that the adapters add to the base's.

A route is called once for each group of layers: `add` in the forward pass, `backward` in the backward pass.

Shape suffixes: T tokens of the pass, B rows among them, D inputs of a group's layers, O their outputs side by side,
R ranks of its layers side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from tuningfork.modeling.adapters.tables import AdapterTables, GroupTable, GroupWeights
from tuningfork.modeling.kernels.base import AdapterKernels, AdapterRows


class Route(Protocol):
    """The adapters that the tokens of a pass use."""

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> Any:
        """Add scale * B A x to the group's outputs `y_TO`; returns what `backward` needs."""
        ...

    def backward(self, group: int, grad_TO: Tensor, x_TD: Tensor, kept: Any, grad_TD: Tensor | None) -> None:
        """Add to the trained adapters' gradients, and to `grad_TD`, the gradient of the inputs, unless that is None."""
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter's weights by group of layers, and its gradients likewise; None: the adapter is not trained."""

    groups: Sequence[GroupWeights]
    scale: float
    gradients: Sequence[GroupWeights] | None


@dataclass(frozen=True, slots=True)
class Uniform:
    """All tokens use the same adapter."""

    adapter: Adapter

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> Tensor:
        """See `Route.add`; returns A x for `backward`."""
        own = self.adapter.groups[group]
        low_TR = linear(x_TD, own.a_RD)
        begin = 0
        for place, b_OR in enumerate(own.bs_OR):
            end = begin + len(b_OR)
            low = low_TR[:, place * own.rank : (place + 1) * own.rank]
            y_TO[:, begin:end].addmm_(low, b_OR.t(), alpha=self.adapter.scale)
            begin = end
        return low_TR

    def backward(self, group: int, grad_TO: Tensor, x_TD: Tensor, kept: Tensor, grad_TD: Tensor | None) -> None:
        """See `Route.backward`."""
        own, scale = self.adapter.groups[group], self.adapter.scale
        grad_TR = torch.empty_like(kept)
        gradients = self.adapter.gradients[group] if self.adapter.gradients is not None else None
        begin = 0
        for place, b_OR in enumerate(own.bs_OR):
            end, columns = begin + len(b_OR), slice(place * own.rank, (place + 1) * own.rank)
            grad = grad_TO[:, begin:end]
            torch.mm(grad, b_OR, out=grad_TR[:, columns])
            if gradients is not None:
                gradients.bs_OR[place].addmm_(grad.t(), kept[:, columns], alpha=scale)
            begin = end
        grad_TR.mul_(scale)
        if gradients is not None:
            gradients.a_RD.addmm_(grad_TR.t(), x_TD)
        if grad_TD is not None:
            grad_TD.addmm_(grad_TR, own.a_RD)


@dataclass(frozen=True, slots=True)
class Composite:
    """Ranges of tokens, each with its own route; tokens outside all ranges use the base alone."""

    parts: Sequence[tuple[slice, Route]]

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> list[Any]:
        """See `Route.add`."""
        return [route.add(group, x_TD[rows], y_TO[rows]) for rows, route in self.parts]

    def backward(self, group: int, grad_TO: Tensor, x_TD: Tensor, kept: list[Any], grad_TD: Tensor | None) -> None:
        """See `Route.backward`."""
        for (rows, route), own in zip(self.parts, kept, strict=True):
            inner = None if grad_TD is None else grad_TD[rows]
            route.backward(group, grad_TO[rows], x_TD[rows], own, inner)


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of a training pass: `all` for all tokens, `tail` for the tokens whose logits are computed."""

    all: Route
    tail: Route


@dataclass(frozen=True, slots=True)
class _OneRank:
    """The tokens whose adapters have one rank, and the tables of that rank, one for each group of layers."""

    tables: Sequence[GroupTable]
    rows: AdapterRows


@dataclass(frozen=True, slots=True)
class PerToken:
    """Each token has its own adapter, from the tables of serving adapters; none is trained.

    A token's result depends on its own adapter alone, not on the adapters of other tokens in the batch.
    """

    ranks: Sequence[_OneRank]

    @classmethod
    def of(
        cls, kernels: AdapterKernels, tables: AdapterTables, rows: Sequence[tuple[int, int]], *, lasting: bool = False
    ) -> "PerToken":
        """The route of these tokens; `rows` are pairs of token index and slot, in ascending order.

        `lasting`: see `AdapterSlots.route`.
        """
        by_rank: dict[int, list[tuple[int, int]]] = {}
        for row, slot in rows:
            by_rank.setdefault(tables.rank_of(slot), []).append((row, slot))
        whole = len(by_rank) == 1 and rows[-1][0] + 1 == len(rows)
        return cls(
            [_rank_rows(kernels, tables, rank, own, whole=whole, lasting=lasting) for rank, own in by_rank.items()]
        )

    @classmethod
    def at(cls, kernels: AdapterKernels, ranks: Sequence[tuple[int, Sequence[GroupTable], Tensor]]) -> "PerToken":
        """The route of all tokens of a pass.

        `ranks`: a rank, its tables, and each token's index in them (negative: none).
        """
        return cls([_OneRank(tables, kernels.rows(rank, own_B, may_be_negative=True)) for rank, tables, own_B in ranks])

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> None:
        """See `Route.add`; returns None, since there is no backward pass."""
        for each in self.ranks:
            table = each.tables[group]
            each.rows.add(table.a_CDR, table.bs_CRO, x_TD, y_TO)

    def backward(self, group: int, grad_TO: Tensor, x_TD: Tensor, kept: Any, grad_TD: Tensor | None) -> None:
        """Serving adapters are not trained.

        Raises:
            NotImplementedError: always.

        """
        raise NotImplementedError("adapters that serve row by row are not trained; load them with trainable=True")


def _rank_rows(
    kernels: AdapterKernels,
    tables: AdapterTables,
    rank: int,
    rows: Sequence[tuple[int, int]],
    *,
    whole: bool,
    lasting: bool,
) -> _OneRank:
    own = tables.of_rank(rank)
    device = own.groups[0].a_CDR.device
    rows_B = None if whole else torch.tensor([row for row, _ in rows], device=device)
    places_B = torch.tensor([own.places[slot] for _, slot in rows], dtype=torch.int32, device=device)
    # Tables that grow or shrink get new tensors; the places in the tensors of now stay as they are.
    groups = [GroupTable(each.a_CDR, list(each.bs_CRO)) for each in own.groups] if lasting else own.groups
    return _OneRank(groups, kernels.rows(rank, places_B, rows_B))
