"""AdamW for adapters, in fp32, each one flat vector.

Shape suffix: P all numbers of one adapter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

MEAN_DECAY = 0.9
SQUARE_DECAY = 0.999
EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class AdamW:
    """Loshchilov & Hutter 2019, algorithm 2, without weight decay, at a constant rate.

    `mean_P` and `square_P` are the running means of the gradient and of its square; `update` changes them in place.
    """

    mean_P: Tensor
    square_P: Tensor

    @classmethod
    def fresh(cls, weights_P: Tensor) -> Self:
        """The state before the first step."""
        return cls(torch.zeros_like(weights_P), torch.zeros_like(weights_P))

    def to(self, device: torch.device) -> Self:
        """The same state on this device."""
        return type(self)(self.mean_P.to(device), self.square_P.to(device))


@torch.no_grad()
def update(
    states: Sequence[AdamW],
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    *,
    steps: Sequence[int],
    learning_rate: float,
) -> None:
    """Change several adapters' weights `P`, each in place, by one step; a step's number is 1 for the first."""
    # Torch's own fused step: one pass over the numbers where operation by operation would take ten.
    torch._fused_adamw_(
        list(weights),
        list(gradients),
        [state.mean_P for state in states],
        [state.square_P for state in states],
        [],
        list(torch.tensor([float(step) for step in steps], device=weights[0].device).unbind()),
        lr=learning_rate,
        beta1=MEAN_DECAY,
        beta2=SQUARE_DECAY,
        weight_decay=0.0,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )
