"""Jobs under way: what the engine knows of each, and the step it is in the middle of.

Shape suffixes: P all numbers of one adapter.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.dataset import Dataset
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.lora import TrainableAdapter
from tuningfork.training.batches import DataOrder, Placed, Segment
from tuningfork.training.optimizer import AdamW


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One job: what to learn from, how, and the seed of its adapter and of its data order.

    `initial_adapter` is the directory of an adapter of the same shape to go on from; None begins with a fresh one.
    """

    id: JobId
    examples: Dataset
    hyperparameters: Hyperparameters
    adapter: AdapterShape
    seed: int
    initial_adapter: Path | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """An admitted job. The engine owns all tensors; `weights_P` are the fp32 masters of the slot's weights.

    `turns` counts what it has had, `under_way` is the step it is in the middle of.
    """

    job: TrainingJob
    digest: str
    segments: tuple[Segment, ...]
    order: DataOrder
    slot: int
    adapter: TrainableAdapter
    weights_P: Tensor
    optimizer: AdamW
    completed: int
    turns: int
    under_way: "Batch | None" = None

    @property
    def total_steps(self) -> int:
        """How many steps it takes from its start to its end."""
        return self.job.hyperparameters.total_steps(len(self.segments))

    def next_batch(self) -> list[Segment]:
        """The examples of the step after those that are completed."""
        return [self.segments[index] for index in self.order.batch(self.completed + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """What a batch says of a job's adapter: the gradient of the mean loss over its targets, in fp32."""

    mean_loss: float
    gradient_P: Tensor
    tokens: int
    finite: bool


@dataclass(slots=True, kw_only=True)
class Batch:
    """A step of some jobs: the passes that are left of it, and what those before them have summed up."""

    runs: Sequence[Run]
    tokens: Sequence[int]
    targets: Sequence[int]
    passes: deque[list[Placed]]
    losses: list[float]
    sums_P: list[Tensor] = field(default_factory=list)

    def add(self, gradients_P: Sequence[Tensor]) -> None:
        """Add each job's share from one pass, in the dtype of the pass, to its sum in fp32."""
        if not self.sums_P:
            self.sums_P = [torch.empty_like(gradient_P, dtype=torch.float32) for gradient_P in gradients_P]
            torch._foreach_copy_(self.sums_P, list(gradients_P))
            return
        for sum_P, gradient_P in zip(self.sums_P, gradients_P, strict=True):
            sum_P.add_(gradient_P)

    def gradients(self) -> list[Gradient]:
        """Each job's gradient, once no pass is left."""
        # What is not finite makes the sum so, and one pass over the numbers is enough.
        totals = torch.stack([sum_P.sum() for sum_P in self.sums_P]).tolist()
        return [
            Gradient(
                mean_loss=loss,
                gradient_P=sum_P,
                tokens=tokens,
                finite=math.isfinite(loss) and math.isfinite(total),
            )
            for loss, sum_P, tokens, total in zip(self.losses, self.sums_P, self.tokens, totals, strict=True)
        ]


def tokens_and_targets(batch: Sequence[Segment]) -> tuple[int, int]:
    """Its tokens, and how many of them are learned."""
    return sum(segment.tokens for segment in batch), sum(segment.targets for segment in batch)
