"""Adapter slots: the linear layers of one resident base, with room beside each for many low-rank adapters.

A layer with weight W and an adapter (A, B) of rank R and scale alpha / R computes

    y = W x + (alpha / R) B A x                                             (Hu et al. 2021, equation 3)

W is shared and frozen. Layers that read the same input (queries, keys and values; gate and up) form a group: their A
lie one below the other, so that one product serves them all. The numbers of an adapter in training lie in one flat
vector, so that an optimizer step or a transfer is a few operations, not a few for each layer; those of one that serves
lie in tables beside the others' (`adapter_tables`).

Shape suffixes: T packed tokens, D inputs of a layer, O its outputs, R rank (in a mixed forward: the ranks of all slots
in use, side by side), P all numbers of one adapter.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.modeling.adapter_cohorts import Cohort, CohortStorage, Member
from tuningfork.modeling.adapter_routes import Adapter, Composite, Route, Rows, Uniform
from tuningfork.modeling.adapter_tables import AdapterTables, GroupWeights
from tuningfork.modeling.slot_layers import Gate, Group, Routing, SlotLinear, adaptable, grouped

BASE_ALONE = -1
"""In place of a slot: the base without any adapter."""

Slots = Tensor | Sequence[int] | int | None
"""One slot for all tokens, or one for each packed token (a tensor `T` on the CPU, or a sequence); -1 and None mean the
base alone."""

_PEFT_PREFIX = "base_model.model."
"""What PEFT puts before the names of a model's layers."""

_RUN_TOKENS = 16
"""Tokens on one adapter from which on they share ordinary products; fewer are taken row by row."""


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """An adapter outside an engine: fp32 tensors under the names PEFT stores them by, A `RD` and B `OR`."""

    shape: AdapterShape
    tensors: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class TrainableAdapter:
    """The flat storage of a slot that is being trained; writing to `weights_P` changes the adapter.

    Backward passes add to `gradients_P`. Both are in the base's dtype.
    """

    weights_P: Tensor
    gradients_P: Tensor


@dataclass(frozen=True, slots=True)
class _Resident:
    """`leaves` are the same numbers as autograd wants them, where the slot is trained."""

    shape: AdapterShape
    adapter: Adapter | None
    leaves: list[GroupWeights] | None
    trainable: TrainableAdapter | None
    generation: int


@dataclass(slots=True)
class AdapterSlots:
    """All adapters resident beside one base. Not thread-safe: one engine owns it.

    Built with `attach`; `layers` are the adapted layers under PEFT's names, in the model's order, and `groups` the same
    layers by what they read.
    """

    layers: dict[str, SlotLinear]
    groups: tuple[Group, ...]
    dtype: torch.dtype
    device: torch.device
    _routing: Routing
    _tables: AdapterTables
    _new_storage: Callable[[], CohortStorage]
    _lanes: dict[int, CohortStorage] = field(default_factory=dict)
    _residents: dict[int, _Resident] = field(default_factory=dict)
    _generations: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def attach(cls, model: PreTrainedModel) -> Self:
        """Freeze the model and replace the linear layers of its attention and MLP blocks by `SlotLinear`.

        The choice is PEFT's "all-linear": every linear layer of the text decoder, never the output head.

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
        layers = {}
        for name, linear in linears.items():
            parent, _, child = name.rpartition(".")
            layer = SlotLinear(linear, routing)
            setattr(model.get_submodule(parent), child, layer)
            layers[_PEFT_PREFIX + name] = layer
        groups = grouped(layers)
        shapes = [(group.in_features, group.out_features) for group in groups]
        slots = cls(
            layers=layers,
            groups=groups,
            dtype=model.dtype,
            device=model.device,
            _routing=routing,
            _tables=AdapterTables(shapes, dtype=model.dtype, device=model.device),
            _new_storage=lambda: CohortStorage(shapes),
        )
        for index, group in enumerate(groups):
            for place, layer in enumerate(group.layers):
                layer.belong(slots, index, place)
        return slots

    @property
    def tables(self) -> AdapterTables:
        """Where the slots that serve keep their weights."""
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
        """Place an adapter beside the base and return its slot. The weights are copied.

        Layers that the adapter leaves out stay the base's own.

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
        slopes = self._by_group(weights.shape.rank, gradients_P)
        adapter = Adapter(own, self._rounded_scale(weights.shape), slopes)
        leaves = [_leaves(each, slope) for each, slope in zip(own, slopes, strict=True)]
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
        """What tells the adapter in this slot from all that were ever loaded, while slots are used again.

        `BASE_ALONE` for the base alone; otherwise 0 or more.
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
        """Trained slots as one route a section, of one shape each and in this order; valid until the next call.

        Gradients of a section of several are in its own storage: `give_back` copies them into the slots'. Lanes have
        storage of their own, so that several, over different slots, may be used at a time.

        Raises:
            ValueError: a section's adapters are of different shapes, or not trained.

        """
        storage = self._lanes.setdefault(lane, self._new_storage())
        return storage.cohorts([[self._member(slot) for slot in section] for section in sections])

    def empty_cohort(self, count: int, shape: AdapterShape) -> Cohort:
        """So many adapters of this shape with storage of their own, all zeros, for whoever fills them in."""
        return self._new_storage().empty(count, (shape.rank, self._rounded_scale(shape)), self.dtype, self.device)

    def _member(self, slot: int) -> Member:
        shape, handle = self.shape_of(slot), self.trainable(slot)
        kind = shape.rank, self._rounded_scale(shape)
        return Member(slot=slot, kind=kind, weights_P=handle.weights_P, gradients_P=handle.gradients_P)

    def give_back(self, slots: Sequence[int], cohort: Cohort) -> None:
        """Copy the cohort's gradients into those of the slots that it was made of."""
        if len(slots) > 1:
            for slot, gradients_P in zip(slots, cohort.gradients_JP, strict=True):
                self.trainable(slot).gradients_P.copy_(gradients_P)

    def flatten(self, weights: AdapterWeights) -> Tensor:
        """All numbers of an adapter as one fp32 vector `P`, group by group, all A of a group before its B transposed.

        Raises:
            InvalidArgument: the adapter was made for another base.

        """
        left = dict(weights.tensors)
        flat = []
        for name, shape in self._shapes(weights.shape.rank):
            tensor = left.pop(name, None)
            if tensor is None:
                tensor = torch.zeros(shape)
            elif tuple(tensor.shape) != shape:
                raise InvalidArgument(
                    f"the adapter does not fit the base: {name} is {tuple(tensor.shape)}, the base's layer wants "
                    f"{shape}"
                )
            flat.append(_turned(name, tensor.detach().to("cpu", torch.float32)).flatten())
        if left:
            raise InvalidArgument(
                f"the adapter does not fit the base: it has {len(left)} tensors for which the base has no adapted "
                f"layer, such as {min(left)}"
            )
        return torch.cat(flat)

    def unflatten(self, shape: AdapterShape, flat_P: Tensor) -> AdapterWeights:
        """The inverse of `flatten`; the tensors are views of `flat_P`, in the model's order."""
        names = [name for name, _ in self._shapes(shape.rank)]
        pieces = dict(zip(names, self._split(shape.rank, flat_P), strict=True))
        ordered = [f"{name}.lora_{letter}.weight" for name in self.layers for letter in "AB"]
        return AdapterWeights(shape, {name: pieces[name] for name in ordered})

    def route(self, slots: Slots) -> Route | None:
        """The adapters of a pass by our own decoder; None: the base alone."""
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
            rows = Rows.of(self._tables, [(row - first, slot) for row, slot in singles])
            if not parts and last - first == len(chosen):
                return rows
            parts.append((slice(first, last), rows))
        return Composite(parts) if parts else None

    @contextmanager
    def routed(self, slots: Slots) -> Iterator[None]:
        """Choose the adapters for the passes by transformers' own code inside the block."""
        before = self._routing.gate
        self._routing.gate = self._plan(slots)
        try:
            yield
        finally:
            self._routing.gate = before

    def pair(self, slot: int, group: int, place: int) -> tuple[Tensor, Tensor]:
        """A `RD` and B `OR` of one layer; leaves of autograd where the slot is trained."""
        resident = self._residents[slot]
        weights = resident.leaves[group] if resident.leaves is not None else self._tables.weights(slot)[group]
        return weights.a_of(place), weights.bs_OR[place]

    def _adapter(self, slot: int) -> Adapter:
        resident = self._residents[slot]
        return resident.adapter or Adapter(self._tables.weights(slot), 1.0, None)

    def _plan(self, slots: Slots) -> Gate | None:
        if slots is None:
            return None
        if isinstance(slots, int):
            return None if slots == BASE_ALONE else Gate((slots,), self._scale(slots))
        slots_T = torch.as_tensor(slots)
        used = torch.unique(slots_T).tolist()
        if len(used) == 1:
            return self._plan(used[0])
        used = [slot for slot in used if slot != BASE_ALONE]
        owners = [slot for slot in used for _ in range(self._residents[slot].shape.rank)]
        scales_R = torch.tensor([self._scale(slot) for slot in owners])
        gate_TR = (slots_T[:, None] == torch.tensor(owners)) * scales_R
        return Gate(tuple(used), gate_TR=gate_TR.to(self.device, self.dtype))

    def _scale(self, slot: int) -> float:
        """What the slot's B is to be multiplied with: nothing where it serves, see `AdapterTables.put`."""
        resident = self._residents[slot]
        return 1.0 if resident.adapter is None else resident.adapter.scale

    def _rounded_scale(self, shape: AdapterShape) -> float:
        # Rounded as a mixed forward's gate is, so that an adapter has one scale however it is routed.
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
            _turned(name, piece.view(_turned_shape(name, shape)))
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


def _turned(name: str, tensor: Tensor) -> Tensor:
    """B lies transposed in flat vectors: its products and its gradient's are faster that way."""
    return tensor.t() if name.endswith("lora_B.weight") else tensor


def _turned_shape(name: str, shape: tuple[int, int]) -> tuple[int, int]:
    return shape[::-1] if name.endswith("lora_B.weight") else shape


def _leaves(weights: GroupWeights, slopes: GroupWeights) -> GroupWeights:
    # Leaves over views: autograd adds into a gradient that is already there, and so into the flat vector.
    a_RD = weights.a_RD.detach().requires_grad_()
    a_RD.grad = slopes.a_RD
    bs_OR = []
    for b_OR, slope_OR in zip(weights.bs_OR, slopes.bs_OR, strict=True):
        leaf_OR = b_OR.detach().requires_grad_()
        leaf_OR.grad = slope_OR
        bs_OR.append(leaf_OR)
    return GroupWeights(a_RD, tuple(bs_OR))


def _runs(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each run of equal slots, and the index after its last."""
    for index, slot in enumerate(slots):
        if index + 1 == len(slots) or slots[index + 1] != slot:
            yield slot, index + 1
