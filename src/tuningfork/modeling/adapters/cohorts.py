"""Trains adapters of one shape together: each LoRA product of a pass is one batched product for all of them.

A job's results do not depend on the other jobs in its cohort: a batched product computes each of its products
separately, and a single job is a batch of one. The fixed cost of a kernel call is paid once for all jobs.

On a CPU with the compiled parts, all products at a group are one call of these (`modeling/compiled/cohorts.py`).
Otherwise, if ranks are small, all layers of a group share one block-diagonal B: each layer's B has its own rows and
columns, and the rest is zero. Multiplying by the zeros costs less than a kernel call for each layer.

Shape suffixes: J adapters, T tokens of each, D inputs of a group's layers, O the layers' outputs side by side (in a
block: the block's), R the layers' ranks side by side, P all numbers of one adapter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

_MOST_RANKS = 64
"""The layers of a group share one B if their ranks add up to at most this."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One layer's part of a shared B: its rows and columns, and views of the layer's own B and of that B's gradient."""

    ranks: slice
    outputs: slice
    own_JRO: Tensor
    grad_JRO: Tensor


@dataclass(frozen=True, slots=True)
class _Block:
    """One product with B. `parts` are the layers that share the B; empty if B belongs to a single layer."""

    ranks: slice
    outputs: slice
    b_JRO: Tensor
    grad_JRO: Tensor
    parts: Sequence[_Part] = ()

    def fill(self) -> None:
        for part in self.parts:
            self.b_JRO[:, part.ranks, part.outputs].copy_(part.own_JRO)

    def write_grad(self, low_JTR: Tensor, grad_JTO: Tensor) -> None:
        torch.bmm(low_JTR.transpose(1, 2), grad_JTO, out=self.grad_JRO)
        for part in self.parts:
            part.grad_JRO.copy_(self.grad_JRO[:, part.ranks, part.outputs])


class GroupProducts(Protocol):
    """Computes all products of a cohort at one group of layers: `modeling/compiled/cohorts.CompiledCohort`."""

    def add(self, x_TD: Tensor, y_TO: Tensor) -> Tensor:
        """See `Cohort.add`."""
        ...

    def backward(self, grad_TO: Tensor, x_TD: Tensor, kept_TR: Tensor, grad_TD: Tensor | None) -> None:
        """See `Cohort.backward`."""
        ...


CohortProducts = Callable[[float, Tensor, Sequence[Tensor], Tensor, Sequence[Tensor]], GroupProducts]
"""Makes them, of the scale, A `JRD` and each B `JRO`, and where the gradients of A and of each B are to be written."""

_MOST_LAYERS = 3
"""For at most so many layers of a group `CohortProducts` is asked."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A and B of all adapters at one group of layers, as views of the cohort's flat vectors.

    `products` computes them; None: torch does, in `blocks`.
    """

    a_JRD: Tensor
    grad_a_JRD: Tensor
    blocks: Sequence[_Block]
    products: GroupProducts | None = None


@dataclass(frozen=True, slots=True)
class Cohort:
    """A `Route` of J equal ranges of tokens, each with its own adapter.

    `weights_JP` and `gradients_JP` hold each adapter as `AdapterSlots.flatten` orders it. A backward pass overwrites
    all gradients; it does not add to them. Call `refresh` after the weights have changed.
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
        products: CohortProducts | None = None,
    ) -> "Cohort":
        """A cohort over this storage. `shapes`: for each group of layers its D, and the O of each layer.

        `products` computes; None: torch does.
        """
        groups, begin = [], 0
        for inputs, outputs in shapes:
            end = begin + len(outputs) * rank * inputs
            a_JRD, grad_a_JRD = (each[:, begin:end].view(len(each), -1, inputs) for each in (weights_JP, gradients_JP))
            parts, column = [], 0
            for index, count in enumerate(outputs):
                begin, end = end, end + rank * count
                own, grad = (each[:, begin:end].view(len(each), rank, count) for each in (weights_JP, gradients_JP))
                columns = slice(column, column + count)
                parts.append(_Part(slice(index * rank, (index + 1) * rank), columns, own, grad))
                column += count
            begin = end
            if products is None or len(parts) > _MOST_LAYERS:
                groups.append(_Group(a_JRD, grad_a_JRD, _blocks(parts)))
                continue
            bs_JRO, grads_JRO = [part.own_JRO for part in parts], [part.grad_JRO for part in parts]
            own_products = products(scale, a_JRD, bs_JRO, grad_a_JRD, grads_JRO)
            groups.append(_Group(a_JRD, grad_a_JRD, (), own_products))
        return cls(weights_JP, gradients_JP, scale, groups)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled parts compute it, with the same bits for an adapter in any company."""
        return all(group.products is not None for group in self.groups)

    def refresh(self) -> None:
        """Copy the adapters' B, after a change in place, into the shared B of each group."""
        for group in self.groups:
            for block in group.blocks:
                block.fill()

    def add(self, group: int, x_TD: Tensor, y_TO: Tensor) -> Tensor:
        """See `Route.add`; returns A x times the scale for `backward`."""
        own = self.groups[group]
        if own.products is not None:
            return own.products.add(x_TD, y_TO)
        x_JTD, y_JTO = self._by_adapter(x_TD), self._by_adapter(y_TO)
        low_JTR = x_JTD.new_empty(*x_JTD.shape[:2], own.a_JRD.shape[1])
        torch.baddbmm(low_JTR, x_JTD, own.a_JRD.transpose(1, 2), beta=0, alpha=self.scale, out=low_JTR)
        for block in own.blocks:
            y_JTO[:, :, block.outputs].baddbmm_(low_JTR[:, :, block.ranks], block.b_JRO)
        return low_JTR

    def backward(self, group: int, grad_TO: Tensor, x_TD: Tensor, kept: Tensor, grad_TD: Tensor | None) -> None:
        """See `Route.backward`; overwrites the adapters' gradients."""
        own = self.groups[group]
        if own.products is not None:
            own.products.backward(grad_TO, x_TD, kept, grad_TD)
            return
        grad_JTO = self._by_adapter(grad_TO)
        grad_JTR = torch.empty_like(kept)
        for block in own.blocks:
            grad, into = grad_JTO[:, :, block.outputs], grad_JTR[:, :, block.ranks]
            torch.baddbmm(into, grad, block.b_JRO.transpose(1, 2), beta=0, alpha=self.scale, out=into)
            block.write_grad(kept[:, :, block.ranks], grad)
        torch.bmm(grad_JTR.transpose(1, 2), self._by_adapter(x_TD), out=own.grad_a_JRD)
        if grad_TD is not None:
            self._by_adapter(grad_TD).baddbmm_(grad_JTR, own.a_JRD)

    def _by_adapter(self, rows_TX: Tensor) -> Tensor:
        return rows_TX.view(len(self.weights_JP), -1, rows_TX.shape[1])


def _blocks(parts: Sequence[_Part]) -> list[_Block]:
    last = parts[-1]
    if len(parts) == 1 or last.ranks.stop > _MOST_RANKS:
        return [_Block(part.ranks, part.outputs, part.own_JRO, part.grad_JRO) for part in parts]
    shape = len(last.own_JRO), last.ranks.stop, last.outputs.stop
    joint_JRO, grad_JRO = last.own_JRO.new_zeros(shape), last.own_JRO.new_empty(shape)
    return [_Block(slice(0, last.ranks.stop), slice(0, last.outputs.stop), joint_JRO, grad_JRO, parts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A trained adapter. Adapters of one `kind` (rank and scale) can be in one cohort."""

    slot: int
    kind: tuple[int, float]
    weights_P: Tensor
    gradients_P: Tensor


@dataclass(slots=True)
class CohortStorage:
    """Makes the cohorts of training passes over one base.

    A cohort of several adapters has its own storage, which later cohorts of the same shape reuse. `shapes` has, for
    each group of layers, its D and the O of each layer. `products` computes; None: torch does.
    """

    shapes: Sequence[tuple[int, tuple[int, ...]]]
    products: CohortProducts | None = None
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
        return Cohort.over(self.shapes, *kind, weights_JP, torch.zeros_like(weights_JP), self.products)

    def forget(self, slot: int) -> None:
        """Free the storage kept for the slot."""
        self._alone.pop(slot, None)
        self._shared.clear()

    def _solo(self, member: Member) -> Cohort:
        found = self._alone.get(member.slot)
        if found is None:
            weights_1P, gradients_1P = member.weights_P[None], member.gradients_P[None]
            found = self._alone[member.slot] = Cohort.over(
                self.shapes, *member.kind, weights_1P, gradients_1P, self.products
            )
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
            found = Cohort.over(self.shapes, *kind, weights_JP, torch.empty_like(weights_JP), self.products)
        self._shared.append((kind, found))
        return found
