"""AdamW for adapters, each one flat vector in fp32.

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
    """The state of AdamW (Loshchilov & Hutter 2019, algorithm 2) without weight decay, at a constant learning rate.

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
    """Apply one optimizer step to several adapters' weights `P`, in place; steps are numbered from 1."""
    # Torch's fused step reads the numbers once; separate operations would read them ten times.
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
