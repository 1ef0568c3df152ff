"""AdamW for one adapter, in fp32, on one flat vector.

Shape suffix: P all numbers of one adapter.
"""

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
    def update(self, weights_P: Tensor, gradient_P: Tensor, *, step: int, learning_rate: float) -> None:
        """Change the weights in place by one step; `step` is 1 for the first."""
        # Torch's own fused step: one pass over the numbers where operation by operation would take ten.
        torch._fused_adamw_(
            [weights_P],
            [gradient_P],
            [self.mean_P],
            [self.square_P],
            [],
            [torch.tensor(float(step), device=weights_P.device)],
            lr=learning_rate,
            beta1=MEAN_DECAY,
            beta2=SQUARE_DECAY,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
