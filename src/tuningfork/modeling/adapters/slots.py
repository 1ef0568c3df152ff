"""Adapter slots: many LoRA adapters loaded beside one resident base, in numbered slots.

A layer with weight W and an adapter (A, B) of rank R and scale alpha / R computes

    y = W x + (alpha / R) B A x                                             (Hu et al. 2021, equation 3)

W is shared and frozen. Layers that read the same input (queries, keys and values; gate and up) form a group: their A
are stacked, so that one product computes all A x. The numbers of an adapter in training are one flat vector, so that an
optimizer step or a transfer is a few operations in all, not a few for each layer. Adapters for serving are stacked in
tables (`tables`).

Shape suffixes: T packed tokens, D inputs of a layer, O its outputs, R rank (in a pass with several slots: the ranks of
all of them, side by side), P all numbers of one adapter.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.modeling.adapters.cohorts import Cohort, CohortProducts, CohortStorage, Member
from tuningfork.modeling.adapters.routes import Adapter, Composite, PerToken, Route, Uniform
from tuningfork.modeling.adapters.slot_layers import AdapterSelection, Group, Routing, SlotLinear, adaptable, grouped
from tuningfork.modeling.adapters.tables import AdapterTables, GroupWeights
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.kernels.base import AdapterKernels
from tuningfork.modeling.kernels.plain import PLAIN

BASE_ALONE = -1
"""Instead of a slot: the base without an adapter."""

Slots = Tensor | Sequence[int] | int | None
"""One slot for all tokens, or one for each packed token (a tensor `T` on the CPU, or a sequence); -1, None: base."""

_PEFT_PREFIX = "base_model.model."
"""What PEFT puts before the names of a model's layers."""

_RUN_TOKENS = 16
"""At least this many consecutive tokens with one adapter are multiplied together; fewer are computed row by row."""


@dataclass(frozen=True, slots=True)
class TrainableAdapter:
    """The flat vectors of a slot in training; writing to `weights_P` changes the adapter.

    Backward passes add to `gradients_P`. Both are in the base's dtype.
    """

    weights_P: Tensor
    gradients_P: Tensor


@dataclass(frozen=True, slots=True)
class _Resident:
    """The content of a slot. `leaves`: for a slot in training, views of its weights as leaf tensors of autograd."""

    shape: AdapterShape
    adapter: Adapter | None
    leaves: list[GroupWeights] | None
    trainable: TrainableAdapter | None
    generation: int


@dataclass(slots=True)
class AdapterSlots:
    """All adapters loaded beside one base. Not thread-safe: one engine owns it.

    Built with `attach`; `layers` are the adapted layers under PEFT's names, in the model's order; `groups` are the same
    layers, grouped by shared input.
    """

    layers: dict[str, SlotLinear]
    groups: tuple[Group, ...]
    dtype: torch.dtype
    device: torch.device
    kernels: AdapterKernels
    _routing: Routing
    _tables: AdapterTables
    _new_storage: Callable[[], CohortStorage]
    _lanes: dict[int, CohortStorage] = field(default_factory=dict)
    _residents: dict[int, _Resident] = field(default_factory=dict)
    _generations: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def attach(
        cls,
        model: PreTrainedModel,
        kernels: AdapterKernels = PLAIN.adapters,
        dtype: torch.dtype | None = None,
        products: CohortProducts | None = None,
    ) -> Self:
        """Freeze the model and replace the linear layers of its attention and MLP blocks by `SlotLinear`.

        The choice is PEFT's "all-linear": every linear layer of the text decoder, never the output head. `kernels`
        compute the products of rows that each have their own adapter, `products` those of adapters in training (None:
        torch does). `dtype` is the adapters' type; None: the model's.

        Raises:
            InternalError: the model's blocks have no plain linear layers.

        """
        model.requires_grad_(requires_grad=False)
        routing = Routing()
        linears = adaptable(model)
        if not linears:
            raise InternalError(
                f"{type(model).__name__} has no torch.nn.Linear layers in its blocks, so no adapter fits on it; choose "
                "an unquantized model of a Llama-like architecture (Llama, Qwen, Gemma, Mistral, Phi-3)"
            )
        layers = {_PEFT_PREFIX + name: SlotLinear(linear, routing) for name, linear in linears.items()}
        for name, layer in zip(linears, layers.values(), strict=True):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer)
        groups = grouped(layers)
        shapes = [(group.in_features, group.out_features) for group in groups]
        slots = cls(
            layers=layers,
            groups=groups,
            dtype=dtype or model.dtype,
            device=model.device,
            kernels=kernels,
            _routing=routing,
            _tables=AdapterTables(shapes, dtype=dtype or model.dtype, device=model.device),
            _new_storage=lambda: CohortStorage(shapes, products),
        )
        for index, group in enumerate(groups):
            for place, layer in enumerate(group.layers):
                layer.connect(slots, index, place)
        return slots

    @property
    def tables(self) -> AdapterTables:
        """The tables with the weights of slots for serving."""
        return self._tables

    def fresh(self, shape: AdapterShape, seed: int) -> AdapterWeights:
        """A new adapter that changes nothing yet: A uniform within 1 / sqrt(D), B zero.

        PEFT's default (`init_lora_weights=True`): Kaiming-uniform with a = sqrt(5).
        """
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for name, layer in self.layers.items():
            a_RD = torch.empty(shape.rank, layer.in_features)
            nn.init.kaiming_uniform_(a_RD, a=math.sqrt(5), generator=generator)
            tensors[f"{name}.lora_A.weight"] = a_RD
            tensors[f"{name}.lora_B.weight"] = torch.zeros(layer.out_features, shape.rank)
        return AdapterWeights(shape, tensors)

    def load(self, weights: AdapterWeights, *, trainable: bool = False) -> int:
        """Load an adapter into a free slot and return the slot. The weights are copied.

        Layers that the adapter has no weights for compute the base alone.

        Raises:
            InvalidArgument: the adapter was made for another base.

        """
        slot = next(index for index in range(len(self._residents) + 1) if index not in self._residents)
        flat_P = self.flatten(weights)
        generation = next(self._generations)
        if not trainable:
            scale = weights.shape.alpha / weights.shape.rank
            self._tables.put(slot, weights.shape.rank, self._by_group(weights.shape.rank, flat_P), scale)
            self._residents[slot] = _Resident(weights.shape, None, None, None, generation)
            return slot
        flat_P = flat_P.to(self.device, self.dtype)
        gradients_P = torch.zeros_like(flat_P)
        own = self._by_group(weights.shape.rank, flat_P)
        grads = self._by_group(weights.shape.rank, gradients_P)
        adapter = Adapter(own, self._rounded_scale(weights.shape), grads)
        leaves = [_leaves(each, grad) for each, grad in zip(own, grads, strict=True)]
        handle = TrainableAdapter(flat_P, gradients_P)
        self._residents[slot] = _Resident(weights.shape, adapter, leaves, handle, generation)
        return slot

    def unload(self, slot: int) -> None:
        """Free the slot and its memory."""
        resident = self._residents.pop(slot)
        if resident.trainable is None:
            self._tables.drop(slot)
        for storage in self._lanes.values():
            storage.forget(slot)

    def generation(self, slot: int) -> int:
        """A number that identifies the slot's adapter among all that were ever loaded, since slots are reused.

        `BASE_ALONE` for the base alone, 0 or more for adapters.
        """
        return BASE_ALONE if slot == BASE_ALONE else self._residents[slot].generation

    def shape_of(self, slot: int) -> AdapterShape:
        """The shape of the slot's adapter."""
        return self._residents[slot].shape

    def trainable(self, slot: int) -> TrainableAdapter:
        """The flat storage of a slot that was loaded with `trainable=True`."""
        handle = self._residents[slot].trainable
        if handle is None:
            raise ValueError(f"slot {slot} was loaded for serving; load it with trainable=True to train it")
        return handle

    def cohorts(self, sections: Sequence[Sequence[int]], *, lane: int = 0) -> list[Cohort]:
        """One cohort for each section, over its slots in the given order; valid until the next call.

        A cohort of several slots has its own gradients, which `copy_gradients` copies into the slots. Each lane has its
        own storage, so that several lanes may run at the same time if their slots are different.

        Raises:
            ValueError: a section's adapters are of different shapes, or not trained.

        """
        storage = self._lanes.setdefault(lane, self._new_storage())
        return storage.cohorts([[self._member(slot) for slot in section] for section in sections])

    def empty_cohort(self, count: int, shape: AdapterShape) -> Cohort:
        """A cohort of `count` adapters of this shape, all zeros, with storage of its own that the caller fills."""
        return self._new_storage().empty(count, (shape.rank, self._rounded_scale(shape)), self.dtype, self.device)

    def _member(self, slot: int) -> Member:
        shape, handle = self.shape_of(slot), self.trainable(slot)
        kind = shape.rank, self._rounded_scale(shape)
        return Member(slot=slot, kind=kind, weights_P=handle.weights_P, gradients_P=handle.gradients_P)

    def copy_gradients(self, slots: Sequence[int], cohort: Cohort) -> None:
        """Copy the cohort's gradients into the slots from which the cohort was made."""
        if len(slots) > 1:
            for slot, gradients_P in zip(slots, cohort.gradients_JP, strict=True):
                self.trainable(slot).gradients_P.copy_(gradients_P)

    def flatten(self, weights: AdapterWeights) -> Tensor:
        """All numbers of an adapter as one fp32 vector `P`, by group: first all A of the group, then each B transposed.

        Raises:
            InvalidArgument: the adapter was made for another base.

        """
        self.check({name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}, weights.shape.rank)
        flat = []
        for name, shape in self._shapes(weights.shape.rank):
            tensor = weights.tensors[name] if name in weights.tensors else torch.zeros(shape)
            flat.append(_transposed(name, tensor.detach().to("cpu", torch.float32)).flatten())
        return torch.cat(flat)

    def check(self, shapes: Mapping[str, tuple[int, ...]], rank: int) -> None:
        """Check that an adapter of this rank, with matrices of these names and shapes, fits the base.

        Raises:
            InvalidArgument: the adapter was made for another base.

        """
        left = dict(shapes)
        for name, wanted in self._shapes(rank):
            if (found := left.pop(name, wanted)) != wanted:
                said = f"{name} is {found}, the base's layer wants {wanted}"
                raise InvalidArgument(f"the adapter does not fit the base: {said}")
        if left:
            said = f"it has {len(left)} tensors for which the base has no adapted layer, such as {min(left)}"
            raise InvalidArgument(f"the adapter does not fit the base: {said}")

    def unflatten(self, shape: AdapterShape, flat_P: Tensor) -> AdapterWeights:
        """The inverse of `flatten`; the tensors are views of `flat_P`, in the model's order."""
        names = [name for name, _ in self._shapes(shape.rank)]
        pieces = dict(zip(names, self._split(shape.rank, flat_P), strict=True))
        ordered = [f"{name}.lora_{letter}.weight" for name in self.layers for letter in "AB"]
        return AdapterWeights(shape, {name: pieces[name] for name in ordered})

    def route(self, slots: Slots, *, lasting: bool = False) -> Route | None:
        """The route of a pass through the project's own decoder; None: the base alone.

        Its adapters stay loaded for as long as it is used. Others may be loaded or unloaded meanwhile only if the route
        is `lasting`: it keeps the tensors of now in memory when the tables grow or shrink.
        """
        if slots is None:
            return None
        if isinstance(slots, int):
            return None if slots == BASE_ALONE else Uniform(self._adapter(slots))
        chosen = slots.tolist() if isinstance(slots, Tensor) else list(slots)
        parts: list[tuple[slice, Route]] = []
        singles: list[tuple[int, int]] = []
        begin = 0
        for slot, end in _runs(chosen):
            trained = slot != BASE_ALONE and self._residents[slot].trainable is not None
            if slot != BASE_ALONE and (trained or end - begin >= _RUN_TOKENS):
                parts.append((slice(begin, end), Uniform(self._adapter(slot))))
            elif slot != BASE_ALONE:
                singles += [(row, slot) for row in range(begin, end)]
            begin = end
        if singles:
            first, last = singles[0][0], singles[-1][0] + 1
            own = [(row - first, slot) for row, slot in singles]
            rows = PerToken.of(self.kernels, self._tables, own, lasting=lasting)
            if not parts and last - first == len(chosen):
                return rows
            parts.append((slice(first, last), rows))
        return Composite(parts) if parts else None

    @contextmanager
    def routed(self, slots: Slots) -> Iterator[None]:
        """Select the adapters for passes through transformers' code within the `with` block."""
        before = self._routing.selection
        self._routing.selection = self._selection(slots)
        try:
            yield
        finally:
            self._routing.selection = before

    def pair(self, slot: int, group: int, place: int) -> tuple[Tensor, Tensor]:
        """A `RD` and B `OR` of one layer; leaf tensors of autograd if the slot is in training."""
        resident = self._residents[slot]
        weights = resident.leaves[group] if resident.leaves is not None else self._tables.weights(slot)[group]
        return weights.a_of(place), weights.bs_OR[place]

    def _adapter(self, slot: int) -> Adapter:
        resident = self._residents[slot]
        return resident.adapter or Adapter(self._tables.weights(slot), 1.0, None)

    def _selection(self, slots: Slots) -> AdapterSelection | None:
        if slots is None:
            return None
        if isinstance(slots, int):
            return None if slots == BASE_ALONE else AdapterSelection((slots,), self._scale(slots))
        slots_T = torch.as_tensor(slots)
        used = torch.unique(slots_T).tolist()
        if len(used) == 1:
            return self._selection(used[0])
        used = [slot for slot in used if slot != BASE_ALONE]
        owners = [slot for slot in used for _ in range(self._residents[slot].shape.rank)]
        scales_R = torch.tensor([self._scale(slot) for slot in owners])
        scale_TR = (slots_T[:, None] == torch.tensor(owners)) * scales_R
        return AdapterSelection(tuple(used), scale_TR=scale_TR.to(self.device, self.dtype))

    def _scale(self, slot: int) -> float:
        """The factor for the slot's B; 1 for a slot for serving, whose B is scaled already (`AdapterTables.put`)."""
        resident = self._residents[slot]
        return 1.0 if resident.adapter is None else resident.adapter.scale

    def _rounded_scale(self, shape: AdapterShape) -> float:
        # Rounded to the base's dtype, as `scale_TR` is, so that both ways of computing an adapter use the same scale.
        return float(torch.tensor(shape.alpha / shape.rank, dtype=self.dtype))

    def _shapes(self, rank: int) -> Iterator[tuple[str, tuple[int, int]]]:
        for group in self.groups:
            for name in group.names:
                yield f"{name}.lora_A.weight", (rank, group.in_features)
            for name, outputs in zip(group.names, group.out_features, strict=True):
                yield f"{name}.lora_B.weight", (outputs, rank)

    def _split(self, rank: int, flat_P: Tensor) -> list[Tensor]:
        shapes = [shape for _, shape in self._shapes(rank)]
        pieces = torch.split(flat_P, [math.prod(shape) for shape in shapes])
        return [
            _transposed(name, piece.view(_transposed_shape(name, shape)))
            for piece, (name, shape) in zip(pieces, self._shapes(rank), strict=True)
        ]

    def _by_group(self, rank: int, flat_P: Tensor) -> list[GroupWeights]:
        found, begin = [], 0
        for group in self.groups:
            end = begin + len(group.names) * rank * group.in_features
            a_RD = flat_P[begin:end].view(-1, group.in_features)
            bs_OR = []
            for outputs in group.out_features:
                begin, end = end, end + outputs * rank
                bs_OR.append(flat_P[begin:end].view(rank, outputs).t())
            found.append(GroupWeights(a_RD, tuple(bs_OR)))
            begin = end
        return found


def _transposed(name: str, tensor: Tensor) -> Tensor:
    """The tensor as flat vectors hold it: B is transposed there, which makes its products faster."""
    return tensor.t() if name.endswith("lora_B.weight") else tensor


def _transposed_shape(name: str, shape: tuple[int, int]) -> tuple[int, int]:
    return shape[::-1] if name.endswith("lora_B.weight") else shape


def _leaves(weights: GroupWeights, grads: GroupWeights) -> GroupWeights:
    # Each leaf's `grad` is a view of the flat gradients: autograd adds in place to a gradient that exists.
    a_RD, *bs_OR = (each.detach().requires_grad_() for each in (weights.a_RD, *weights.bs_OR))
    for leaf, grad in zip((a_RD, *bs_OR), (grads.a_RD, *grads.bs_OR), strict=True):
        leaf.grad = grad
    return GroupWeights(a_RD, tuple(bs_OR))


def _runs(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The slot of each run of equal slots, and the index after the run's last token."""
    for index, slot in enumerate(slots):
        if index + 1 == len(slots) or slots[index + 1] != slot:
            yield slot, index + 1
