"""Many LoRA adapters over one model at once, for rehearsing and measuring how well the model can be tuned.

Shapes: S slots (adapters), B rows per slot, T tokens, D input width, E output width, R rank.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Adapters:
    """`slots` adapters of one rank on every attention and MLP projection; rows of a batch are grouped by slot."""

    def __init__(self, model: nn.Module, *, rank: int, alpha: float, seeds: list[int]) -> None:
        self._scale = alpha / rank
        self._slots = len(seeds)
        self._linears = [
            module
            for name, module in model.named_modules()
            if name.rpartition(".")[2] in TARGETS and isinstance(module, nn.Linear)
        ]
        self.a_SDR: list[Tensor] = []
        self.b_SRE: list[Tensor] = []
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for linear in self._linears:
            bound = 1 / math.sqrt(linear.in_features)  # Kaiming-uniform with a = sqrt(5), as PEFT starts A.
            rows = [torch.rand(linear.in_features, rank, generator=generator) for generator in generators]
            self.a_SDR.append(((2 * torch.stack(rows) - 1) * bound).requires_grad_())
            self.b_SRE.append(torch.zeros(self._slots, rank, linear.out_features, requires_grad=True))

    @property
    def parameters(self) -> list[Tensor]:
        """The trainable tensors, float32."""
        return [*self.a_SDR, *self.b_SRE]

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Add the adapters to the model's projections while the context is open."""
        handles = [linear.register_forward_hook(self._hook(index)) for index, linear in enumerate(self._linears)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, index: int) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        def add(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            hidden = inputs[0]
            rows = hidden.reshape(self._slots, -1, hidden.shape[-1])
            a_SDR, b_SRE = self.a_SDR[index].to(hidden.dtype), self.b_SRE[index].to(hidden.dtype)
            delta = torch.bmm(torch.bmm(rows, a_SDR), b_SRE * self._scale)
            return output + delta.view(output.shape)

        return add
