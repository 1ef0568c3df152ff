"""AdamW for one adapter, in fp32, on one flat vector.

Shape suffix: P all numbers of one adapter.
"""

import math
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
        self.mean_P.lerp_(gradient_P, 1 - MEAN_DECAY)
        self.square_P.mul_(SQUARE_DECAY).addcmul_(gradient_P, gradient_P, value=1 - SQUARE_DECAY)
        spread_P = self.square_P.sqrt().div_(math.sqrt(1 - SQUARE_DECAY**step)).add_(EPSILON)
        weights_P.addcdiv_(self.mean_P, spread_P, value=-learning_rate / (1 - MEAN_DECAY**step))
