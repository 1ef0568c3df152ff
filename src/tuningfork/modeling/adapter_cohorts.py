"""Adapters of one shape that are trained side by side: each product of a pass is one batched product for all of them.

A job's numbers do not depend on its company: a batched product computes each of its products for itself, and one job
alone goes the same way, as a batch of one. What a call costs, whatever its size, is paid once for all jobs.

The layers of a group have one B between them where that is small: each layer's own in its rows and columns, zero
elsewhere. That multiplies by zeros, and saves calls.

Shape suffixes: J adapters, T tokens of each, D inputs of a group's layers, O their outputs side by side (of a block:
its own), R ranks of its layers side by side, P all numbers of one adapter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

_MOST_RANKS = 64
"""Layers of a group share one B up to this many ranks together."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One layer's B within a joint one: its rows and columns there, its numbers, and those of its gradient."""

    ranks: slice
    outputs: slice
    own_JRO: Tensor
    slope_JRO: Tensor


@dataclass(frozen=True, slots=True)
class _Block:
    """One product with B. `places` are the layers that share a joint B; one that has it to itself has none."""

    ranks: slice
    outputs: slice
    b_JRO: Tensor
    slope_JRO: Tensor
    places: Sequence[_Place] = ()

    def fill(self) -> None:
        for place in self.places:
            self.b_JRO[:, place.ranks, place.outputs].copy_(place.own_JRO)

    def write_slope(self, low_JTR: Tensor, slope_JTO: Tensor) -> None:
        torch.bmm(low_JTR.transpose(1, 2), slope_JTO, out=self.slope_JRO)
        for place in self.places:
            place.slope_JRO.copy_(self.slope_JRO[:, place.ranks, place.outputs])


@dataclass(frozen=True, slots=True)
class _Group:
    """All adapters at one group of layers, as views of the cohort's flat numbers."""

    a_JRD: Tensor
    slope_a_JRD: Tensor
    blocks: Sequence[_Block]


@dataclass(frozen=True, slots=True)
class Cohort:
    """A `Route` of J equal ranges of tokens, each on an adapter of its own.

    `weights_JP` and `gradients_JP` are the adapters in the layout of `AdapterSlots.flatten`. A pass forward and back
    writes all gradients; it does not add to what was there. Call `refresh` after the weights have changed.
    """

    weights_JP: Tensor
    gradients_JP: Tensor
    scale: float
    groups: Sequence[_Group]

    @classmethod
    def over(
        cls,
        shapes: Sequence[tuple[int, tuple[int, ...]]],
        rank: int,
        scale: float,
        weights_JP: Tensor,
        gradients_JP: Tensor,
    ) -> "Cohort":
        """Adapters in this storage, at groups of these inputs and outputs."""
        groups, begin = [], 0
        for inputs, outputs in shapes:
            end = begin + len(outputs) * rank * inputs
            a_JRD, slope_a_JRD = (each[:, begin:end].view(len(each), -1, inputs) for each in (weights_JP, gradients_JP))
            places, column = [], 0
            for index, count in enumerate(outputs):
                begin, end = end, end + rank * count
                own, slope = (each[:, begin:end].view(len(each), rank, count) for each in (weights_JP, gradients_JP))
                columns = slice(column, column + count)
                places.append(_Place(slice(index * rank, (index + 1) * rank), columns, own, slope))
                column += count
            begin = end
            groups.append(_Group(a_JRD, slope_a_JRD, _blocks(places)))
        return cls(weights_JP, gradients_JP, scale, groups)

    def refresh(self) -> None:
        """Take over weights that were changed in place."""
        for group in self.groups:
            for block in group.blocks:
                block.fill()

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> Tensor:
        """See `Route.add`; what is kept is A x, scaled."""
        own = self.groups[group]
        x_JTD, y_JTO = self._by_adapter(x_TD), self._by_adapter(y_TO)
        low_JTR = x_JTD.new_empty(*x_JTD.shape[:2], own.a_JRD.shape[1])
        torch.baddbmm(low_JTR, x_JTD, own.a_JRD.transpose(1, 2), beta=0, alpha=self.scale, out=low_JTR)
        for block in own.blocks:
            y_JTO[:, :, block.outputs].baddbmm_(low_JTR[:, :, block.ranks], block.b_JRO)
        return low_JTR

    def backward(self, group: int, slope_TO: Tensor, x_TD: Tensor, kept: Tensor, slope_TD: Tensor | None) -> None:
        """See `Route.backward`; the adapters' gradients are written."""
        own = self.groups[group]
        slope_JTO = self._by_adapter(slope_TO)
        slope_JTR = torch.empty_like(kept)
        for block in own.blocks:
            slope, into = slope_JTO[:, :, block.outputs], slope_JTR[:, :, block.ranks]
            torch.baddbmm(into, slope, block.b_JRO.transpose(1, 2), beta=0, alpha=self.scale, out=into)
            block.write_slope(kept[:, :, block.ranks], slope)
        torch.bmm(slope_JTR.transpose(1, 2), self._by_adapter(x_TD), out=own.slope_a_JRD)
        if slope_TD is not None:
            self._by_adapter(slope_TD).baddbmm_(slope_JTR, own.a_JRD)

    def _by_adapter(self, rows_TX: Tensor) -> Tensor:
        return rows_TX.view(len(self.weights_JP), -1, rows_TX.shape[1])


def _blocks(places: Sequence[_Place]) -> list[_Block]:
    last = places[-1]
    if len(places) == 1 or last.ranks.stop > _MOST_RANKS:
        return [_Block(place.ranks, place.outputs, place.own_JRO, place.slope_JRO) for place in places]
    shape = len(last.own_JRO), last.ranks.stop, last.outputs.stop
    joint_JRO, slope_JRO = last.own_JRO.new_zeros(shape), last.own_JRO.new_empty(shape)
    return [_Block(slice(0, last.ranks.stop), slice(0, last.outputs.stop), joint_JRO, slope_JRO, places)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A trained adapter; those of one `kind`, which is rank and scale, can be in one cohort."""

    slot: int
    kind: tuple[int, float]
    weights_P: Tensor
    gradients_P: Tensor


@dataclass(slots=True)
class CohortStorage:
    """The cohorts of one base's passes. One of several has storage of its own, which is used again where it fits.

    `shapes` are the inputs, and each layer's outputs, of every group of layers.
    """

    shapes: Sequence[tuple[int, tuple[int, ...]]]
    _alone: dict[int, Cohort] = field(default_factory=dict)
    _shared: list[tuple[tuple[int, float], Cohort]] = field(default_factory=list)

    def cohorts(self, sections: Sequence[Sequence[Member]]) -> list[Cohort]:
        """See `AdapterSlots.cohorts`."""
        before, self._shared = self._shared, []
        found = [self._solo(each[0]) if len(each) == 1 else self._several(each, before) for each in sections]
        for cohort in found:
            cohort.refresh()
        return found

    def empty(self, count: int, kind: tuple[int, float], dtype: torch.dtype, device: torch.device) -> Cohort:
        """See `AdapterSlots.empty_cohort`."""
        rank, _ = kind
        numbers = sum(rank * (len(outputs) * inputs + sum(outputs)) for inputs, outputs in self.shapes)
        weights_JP = torch.zeros(count, numbers, dtype=dtype, device=device)
        return Cohort.over(self.shapes, *kind, weights_JP, torch.zeros_like(weights_JP))

    def forget(self, slot: int) -> None:
        """Free what was kept for the slot."""
        self._alone.pop(slot, None)
        self._shared.clear()

    def _solo(self, member: Member) -> Cohort:
        found = self._alone.get(member.slot)
        if found is None:
            weights_1P, gradients_1P = member.weights_P[None], member.gradients_P[None]
            found = self._alone[member.slot] = Cohort.over(self.shapes, *member.kind, weights_1P, gradients_1P)
        return found

    def _several(self, members: Sequence[Member], before: list[tuple[tuple[int, float], Cohort]]) -> Cohort:
        kind = members[0].kind
        if any(member.kind != kind for member in members):
            slots = [member.slot for member in members]
            raise ValueError(f"slots {slots} hold adapters of different shapes; make a section of each shape")
        weights = [member.weights_P for member in members]
        for index, (known, found) in enumerate(before):
            if known == kind and len(found.weights_JP) == len(members):
                del before[index]
                torch.stack(weights, out=found.weights_JP)
                break
        else:
            weights_JP = torch.stack(weights)
            found = Cohort.over(self.shapes, *kind, weights_JP, torch.empty_like(weights_JP))
        self._shared.append((kind, found))
        return found
