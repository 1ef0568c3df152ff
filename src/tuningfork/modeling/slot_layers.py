"""The linear layers of a base with room for adapters: transformers' modules, and which of them read the same input.

Shape suffixes: T packed tokens, D inputs of a layer, O its outputs, R rank (in a mixed forward: the ranks of all slots
in use, side by side).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers of one block that read the same input, in the families that name them so."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The route of a forward pass by transformers' own code.

    With one slot every token takes it, at `scale`. With several (or some tokens on the base alone) `gate_TR` holds
    each slot's scale on its own tokens and columns and 0 elsewhere.
    """

    slots: tuple[int, ...]
    scale: float = 1.0
    gate_TR: Tensor | None = None


@dataclass(slots=True)
class Routing:
    """The gate in force; one object that all layers of a model look at."""

    gate: Gate | None = None


class Pairs(Protocol):
    """Whoever holds the adapters' weights."""

    def pair(self, slot: int, group: int, place: int) -> tuple[Tensor, Tensor]:
        """A `RD` and B `OR` of a slot at one layer: the group's, and its place among them."""
        ...


class SlotLinear(nn.Module):
    """A linear layer whose output the adapter of each token's slot is added to; shares the base layer's weight."""

    def __init__(self, base: nn.Linear, routing: Routing) -> None:
        super().__init__()
        self.in_features = base.in_features
        self.out_features = base.out_features
        self.weight = base.weight
        self.bias = base.bias
        self._routing = routing
        self._own: tuple[Pairs, int, int] | None = None

    def belong(self, slots: Pairs, group: int, place: int) -> None:
        """Say where this layer's pairs are: which group's, and which of the group's layers this one is."""
        # In a tuple, so that the module does not take part in it.
        self._own = (slots, group, place)

    def forward(self, x: Tensor) -> Tensor:
        """The base's output plus each token's adapter's; `x` is `[..., D]`."""
        base = functional.linear(x, self.weight, self.bias)
        gate = self._routing.gate
        if gate is None or self._own is None:
            return base
        slots, group, place = self._own
        pairs = [slots.pair(slot, group, place) for slot in gate.slots]
        a_RD = pairs[0][0] if len(pairs) == 1 else torch.cat([a_RD for a_RD, _ in pairs])
        b_OR = pairs[0][1] if len(pairs) == 1 else torch.cat([b_OR for _, b_OR in pairs], dim=1)
        low_TR = functional.linear(x.reshape(-1, self.in_features), a_RD)
        if gate.gate_TR is not None:
            low_TR = low_TR * gate.gate_TR
        y_TO = torch.addmm(base.view(-1, self.out_features), low_TR, b_OR.t(), alpha=gate.scale)
        return y_TO.view(base.shape)


@dataclass(frozen=True, slots=True)
class Group:
    """Adapted layers that read the same input, under PEFT's names."""

    names: tuple[str, ...]
    layers: tuple[SlotLinear, ...]

    @property
    def in_features(self) -> int:
        """D of them all."""
        return self.layers[0].in_features

    @property
    def out_features(self) -> tuple[int, ...]:
        """O of each."""
        return tuple(layer.out_features for layer in self.layers)


def grouped(layers: dict[str, SlotLinear]) -> tuple[Group, ...]:
    """The layers, under their names, by what they read; groups in the model's order."""
    groups: list[tuple[str, ...]] = []
    taken: set[str] = set()
    for name in layers:
        if name in taken:
            continue
        parent, _, child = name.rpartition(".")
        names = next(
            (
                tuple(f"{parent}.{each}" for each in family)
                for family in _TOGETHER
                if child in family and all(f"{parent}.{each}" in layers for each in family)
            ),
            (name,),
        )
        groups.append(names)
        taken.update(names)
    return tuple(Group(names, tuple(layers[name] for name in names)) for names in groups)


def adaptable(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Every linear layer of the model's text decoder under its name, in order; never the output head."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    inside = {id(module) for module in decoder.modules()} - {id(head)}
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside
    }
