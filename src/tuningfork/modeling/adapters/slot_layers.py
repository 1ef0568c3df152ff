"""Replaces a base's linear layers by ones that add adapters, and groups layers that read the same input.

Shape suffixes: T packed tokens, D inputs of a layer, O its outputs, R rank (in a pass with several slots: the ranks of
all of them, side by side).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

_SHARED_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that read the same input if they are in the same block of the model."""


_AT_ONCE = 2**22
"""How many weights of a layer are widened at a time: 16 MiB in fp32."""


@dataclass(frozen=True, slots=True)
class AdapterSelection:
    """The adapters of a forward pass that runs by transformers' own code.

    With one slot, every token uses it, at `scale`. With several slots, or some tokens on the base alone, `scale_TR`
    holds a slot's scale in the rows of its tokens and the columns of its ranks, and 0 elsewhere.
    """

    slots: tuple[int, ...]
    scale: float = 1.0
    scale_TR: Tensor | None = None


@dataclass(slots=True)
class Routing:
    """The adapters of the current pass: one mutable object that all layers of a model read."""

    selection: AdapterSelection | None = None


def widened_linear(x: Tensor, weight_OD: Tensor, bias_O: Tensor | None, scale_O: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear` in the type of x, with weights of this type or a narrower one.

    `scale_O`: what the weights of each output are multiplied with, in fp32; None: nothing.
    """
    if weight_OD.dtype == x.dtype:
        return functional.linear(x, weight_OD, bias_O)
    y = torch.cat([functional.linear(x, part.to(x.dtype)) for part in blocks_of(weight_OD)], dim=-1)
    if scale_O is not None:
        y = (y * scale_O).to(x.dtype)
    return y if bias_O is None else y + bias_O


def blocks_of(weight_OD: Tensor) -> tuple[Tensor, ...]:
    """The weights in blocks of rows, each of which may be widened at once."""
    return torch.split(weight_OD, max(1, _AT_ONCE // weight_OD.shape[1]))


class Pairs(Protocol):
    """Gives each layer the weights of an adapter."""

    def pair(self, slot: int, group: int, place: int) -> tuple[Tensor, Tensor]:
        """A `RD` and B `OR` of a slot at one layer, given by its group and its index within the group."""
        ...


class SlotLinear(nn.Module):
    """A linear layer that adds the output of each token's adapter to its own. It shares the base layer's weight."""

    def __init__(self, base: nn.Linear, routing: Routing) -> None:
        super().__init__()
        self.in_features = base.in_features
        self.out_features = base.out_features
        self.weight = base.weight
        self.bias = base.bias
        self.scale_O: Tensor | None = None
        """What the weights of each output are multiplied with, if they are in int8."""
        self._routing = routing
        self._own: tuple[Pairs, int, int] | None = None

    def connect(self, slots: Pairs, group: int, place: int) -> None:
        """Set where this layer's A and B come from: the slots, its group, and its index within the group."""
        # A tuple keeps torch from registering the slots as a submodule.
        self._own = (slots, group, place)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the base layer plus that of each token's adapter; `x` is `[..., D]`."""
        base = widened_linear(x, self.weight, self.bias, self.scale_O)
        selection = self._routing.selection
        if selection is None or self._own is None:
            return base
        slots, group, place = self._own
        pairs = [slots.pair(slot, group, place) for slot in selection.slots]
        a_RD = pairs[0][0] if len(pairs) == 1 else torch.cat([a_RD for a_RD, _ in pairs])
        b_OR = pairs[0][1] if len(pairs) == 1 else torch.cat([b_OR for _, b_OR in pairs], dim=1)
        low_TR = functional.linear(x.reshape(-1, self.in_features), a_RD)
        if selection.scale_TR is not None:
            low_TR = low_TR * selection.scale_TR
        y_TO = torch.addmm(base.view(-1, self.out_features), low_TR, b_OR.t(), alpha=selection.scale)
        return y_TO.view(base.shape)


@dataclass(frozen=True, slots=True)
class Group:
    """Adapted layers that read the same input, under PEFT's names."""

    names: tuple[str, ...]
    layers: tuple[SlotLinear, ...]

    @property
    def in_features(self) -> int:
        """D, the number of inputs, which is the same for all layers."""
        return self.layers[0].in_features

    @property
    def out_features(self) -> tuple[int, ...]:
        """O, the number of outputs, of each layer."""
        return tuple(layer.out_features for layer in self.layers)


def grouped(layers: dict[str, SlotLinear]) -> tuple[Group, ...]:
    """Group the layers that read the same input; groups are in the model's order."""
    groups: list[tuple[str, ...]] = []
    taken: set[str] = set()
    for name in layers:
        if name in taken:
            continue
        parent, _, child = name.rpartition(".")
        names = next(
            (
                tuple(f"{parent}.{each}" for each in family)
                for family in _SHARED_INPUT
                if child in family and all(f"{parent}.{each}" in layers for each in family)
            ),
            (name,),
        )
        groups.append(names)
        taken.update(names)
    return tuple(Group(names, tuple(layers[name] for name in names)) for names in groups)


def adaptable(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Every linear layer of the model's text decoder except the output head, by name, in order."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    inside = {id(module) for module in decoder.modules()} - {id(head)}
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside
    }
