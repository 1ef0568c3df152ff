"""Adapter slots: the linear layers of one resident base, with room beside each for many low-rank adapters.

A layer with weight W and an adapter (A, B) of rank R and scale alpha / R computes

    y = W x + (alpha / R) B A x                                             (Hu et al. 2021, equation 3)

W is shared and frozen. An adapter's numbers lie in one flat vector, so that an optimizer step or a transfer is a few
operations, not a few for each layer; the layers hold views of it.

Shape suffixes: T packed tokens, D inputs of a layer, O its outputs, R rank (in a mixed forward: the ranks of all slots
in use, side by side), P all numbers of one adapter.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InternalError, InvalidArgument

BASE_ALONE = -1
"""In place of a slot: the base without any adapter."""

_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """An adapter outside an engine: fp32 tensors under the names PEFT stores them by, A `RD` and B `OR`."""

    shape: AdapterShape
    tensors: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One adapter at one layer, in the base's dtype."""

    a_RD: Tensor
    b_OR: Tensor


@dataclass(frozen=True, slots=True)
class _Route:
    """Which adapters the next forward uses.

    With one slot every token takes it, at `scale`. With several (or some tokens on the base alone) `gate_TR` holds
    each slot's scale on its own tokens and columns and 0 elsewhere.
    """

    slots: tuple[int, ...]
    scale: float = 1.0
    gate_TR: Tensor | None = None


@dataclass(slots=True)
class _Routing:
    """The route in force; one object that all layers of a model look at."""

    route: _Route | None = None


@dataclass(frozen=True, slots=True)
class TrainableAdapter:
    """The flat storage of a slot that is being trained; writing to `weights_P` changes the adapter.

    Backward passes add to `gradients_P`. Both are in the base's dtype.
    """

    weights_P: Tensor
    gradients_P: Tensor


@dataclass(frozen=True, slots=True)
class _Resident:
    shape: AdapterShape
    trainable: TrainableAdapter | None
    generation: int


class SlotLinear(nn.Module):
    """A linear layer whose output the adapter of each token's slot is added to; shares the base layer's weight."""

    def __init__(self, base: nn.Linear, routing: _Routing) -> None:
        super().__init__()
        self.in_features = base.in_features
        self.out_features = base.out_features
        self.weight = base.weight
        self.bias = base.bias
        self._routing = routing
        self._pairs: dict[int, _Pair] = {}
        self._stacked: tuple[tuple[int, ...], _Pair] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The base's output plus each token's adapter's; `x` is `[..., D]`."""
        base = functional.linear(x, self.weight, self.bias)
        route = self._routing.route
        if route is None:
            return base
        pair = self._pair(route.slots)
        low_TR = functional.linear(x.reshape(-1, self.in_features), pair.a_RD)
        if route.gate_TR is not None:
            low_TR = low_TR * route.gate_TR
        y_TO = torch.addmm(base.view(-1, self.out_features), low_TR, pair.b_OR.t(), alpha=route.scale)
        return y_TO.view(base.shape)

    def put(self, slot: int, pair: _Pair) -> None:
        """Give the slot this adapter."""
        self._pairs[slot] = pair

    def clear(self, slot: int) -> None:
        """Forget the slot's adapter."""
        del self._pairs[slot]
        self._stacked = None

    def _pair(self, slots: tuple[int, ...]) -> _Pair:
        if len(slots) == 1:
            return self._pairs[slots[0]]
        if self._stacked is not None and self._stacked[0] == slots:
            return self._stacked[1]
        pairs = [self._pairs[slot] for slot in slots]
        stacked = _Pair(torch.cat([pair.a_RD for pair in pairs]), torch.cat([pair.b_OR for pair in pairs], dim=1))
        # Decoding asks for the same few slots again and again. Stacks of trained adapters change with every step.
        if not stacked.a_RD.requires_grad:
            self._stacked = (slots, stacked)
        return stacked


@dataclass(slots=True)
class AdapterSlots:
    """All adapters resident beside one base. Not thread-safe: one engine owns it.

    Built with `attach`; `layers` are the adapted layers under PEFT's names, in the model's order.
    """

    layers: dict[str, SlotLinear]
    dtype: torch.dtype
    device: torch.device
    _routing: _Routing
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
        routing = _Routing()
        linears = _linears(model)
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
        return cls(layers=layers, dtype=model.dtype, device=model.device, _routing=routing)

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
        flat_P = self.flatten(weights).to(self.device, self.dtype)
        gradients_P = torch.zeros_like(flat_P) if trainable else None
        pieces = self._split(weights.shape.rank, flat_P)
        slopes = self._split(weights.shape.rank, gradients_P) if gradients_P is not None else [None] * len(pieces)
        parameters = [_leaf(piece, slope) for piece, slope in zip(pieces, slopes, strict=True)]
        for index, layer in enumerate(self.layers.values()):
            layer.put(slot, _Pair(parameters[2 * index], parameters[2 * index + 1]))
        handle = TrainableAdapter(flat_P, gradients_P) if gradients_P is not None else None
        self._residents[slot] = _Resident(weights.shape, handle, next(self._generations))
        return slot

    def unload(self, slot: int) -> None:
        """Free the slot and its memory."""
        del self._residents[slot]
        for layer in self.layers.values():
            layer.clear(slot)

    def generation(self, slot: int) -> int:
        """What tells the adapter in this slot from all that were ever loaded, while slots are used again.

        `BASE_ALONE` for the base alone; otherwise 0 or more.
        """
        return BASE_ALONE if slot == BASE_ALONE else self._residents[slot].generation

    def trainable(self, slot: int) -> TrainableAdapter:
        """The flat storage of a slot that was loaded with `trainable=True`."""
        handle = self._residents[slot].trainable
        if handle is None:
            raise ValueError(f"slot {slot} was loaded for serving; load it with trainable=True to train it")
        return handle

    def flatten(self, weights: AdapterWeights) -> Tensor:
        """All numbers of an adapter as one fp32 vector `P`, layer by layer, A before B.

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
            flat.append(tensor.detach().to("cpu", torch.float32).flatten())
        if left:
            raise InvalidArgument(
                f"the adapter does not fit the base: it has {len(left)} tensors for which the base has no adapted "
                f"layer, such as {min(left)}"
            )
        return torch.cat(flat)

    def unflatten(self, shape: AdapterShape, flat_P: Tensor) -> AdapterWeights:
        """The inverse of `flatten`; the tensors are views of `flat_P`."""
        names = [name for name, _ in self._shapes(shape.rank)]
        return AdapterWeights(shape, dict(zip(names, self._split(shape.rank, flat_P), strict=True)))

    @contextmanager
    def routed(self, slots: Tensor | Sequence[int] | int | None) -> Iterator[None]:
        """Choose the adapters for the forward (and backward) passes inside the block.

        Args:
            slots: one slot for all tokens, or one for each packed token (a tensor `T` on the CPU, or a sequence); -1
                and None mean the base alone.

        """
        before = self._routing.route
        self._routing.route = self._plan(slots)
        try:
            yield
        finally:
            self._routing.route = before

    def _plan(self, slots: Tensor | Sequence[int] | int | None) -> _Route | None:
        if slots is None:
            return None
        if isinstance(slots, int):
            return None if slots == BASE_ALONE else _Route((slots,), self._scale(slots))
        slots_T = torch.as_tensor(slots)
        used = torch.unique(slots_T).tolist()
        if len(used) == 1:
            return self._plan(used[0])
        used = [slot for slot in used if slot != BASE_ALONE]
        owners = [slot for slot in used for _ in range(self._residents[slot].shape.rank)]
        scales_R = torch.tensor([self._scale(slot) for slot in owners])
        gate_TR = (slots_T[:, None] == torch.tensor(owners)) * scales_R
        return _Route(tuple(used), gate_TR=gate_TR.to(self.device, self.dtype))

    def _scale(self, slot: int) -> float:
        shape = self._residents[slot].shape
        # Rounded as a mixed forward's gate is, so that an adapter has one scale however it is routed.
        return float(torch.tensor(shape.alpha / shape.rank, dtype=self.dtype))

    def _shapes(self, rank: int) -> Iterator[tuple[str, tuple[int, int]]]:
        for name, layer in self.layers.items():
            yield f"{name}.lora_A.weight", (rank, layer.in_features)
            yield f"{name}.lora_B.weight", (layer.out_features, rank)

    def _split(self, rank: int, flat_P: Tensor) -> list[Tensor]:
        shapes = [shape for _, shape in self._shapes(rank)]
        pieces = torch.split(flat_P, [math.prod(shape) for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _leaf(values: Tensor, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        return values
    # A leaf over a view: autograd adds into a gradient that is already there, and so into the flat vector.
    leaf = values.detach().requires_grad_()
    leaf.grad = gradient
    return leaf


def _linears(model: PreTrainedModel) -> dict[str, nn.Linear]:
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    inside = {id(module) for module in decoder.modules()} - {id(head)}
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside
    }
