"""The state of admitted jobs: each job's adapter and optimizer, and its current step or evaluation.

Shape suffixes: P all numbers of one adapter.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.adapters.slots import TrainableAdapter
from tuningfork.training.batches import DataOrder, OwnedSegment, Segment, split
from tuningfork.training.effort import Effort
from tuningfork.training.examples import ExampleSource, RenderedExamples
from tuningfork.training.objectives import JobObjective, Predictions
from tuningfork.training.optimizer import AdamW, update
from tuningfork.training.suspended import SuspendedPass


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The examples on which a job is evaluated, after every `every` steps and after its last step.

    `every` 0: only after the last step.
    """

    examples: ExampleSource
    every: int = 0

    def is_due(self, step: int, total_steps: int) -> bool:
        """Whether the job is evaluated after this step."""
        return step == total_steps or (self.every > 0 and step > 0 and step % self.every == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """A job for the engine: its examples and hyperparameters, and the seed of its adapter and data order.

    `initial_adapter` is the directory of an adapter of the same shape to start from; None: start from a new one.
    `dataset_digest` is the SHA-256 of a dataset file that holds the examples; "": the engine reads all examples to
    compute it. `validation` None: the job is never evaluated. `owner` is whose job it is; owners take turns.
    """

    id: JobId
    examples: ExampleSource
    hyperparameters: Hyperparameters
    adapter: AdapterShape
    seed: int
    dataset_digest: str = ""
    initial_adapter: Path | None = None
    validation: Validation | None = None
    owner: str = ""


@dataclass(slots=True, kw_only=True)
class AdmittedJob:
    """An admitted job. The engine owns all tensors; `weights_P` is the fp32 master copy of the slot's weights.

    `examples` are the rendered training examples, `validation` the rendered examples for evaluations. `reference` is
    the slot of the reference model, which is the job's initial adapter; None: its objective needs no reference model.
    `turns` is how much computation the job has had, so that jobs can have equal shares: each pass counts one turn for
    every so many tokens (`_TOKENS_PER_TURN` in `pass_runner`), at least one. `under_way` is its unfinished step, and
    `evaluating` is the evaluation to finish before its next step. `has_long_passes` is whether the log says of the job
    that it has passes for whose end other jobs wait (`undivided`).
    """

    definition: TrainingJob
    digest: str
    objective: JobObjective
    examples: RenderedExamples
    validation: RenderedExamples
    order: DataOrder
    slot: int
    reference: int | None
    adapter: TrainableAdapter
    weights_P: Tensor
    optimizer: AdamW
    completed: int
    turns: int
    has_long_passes: bool = False
    under_way: "Batch | None" = None
    evaluating: "EvaluationPasses | None" = None
    _next: "_NextBatch" = field(default_factory=lambda: _NextBatch(step=0))

    @property
    def total_steps(self) -> int:
        """How many steps the job has in all."""
        return self.definition.hyperparameters.total_steps(len(self.examples))

    @property
    def completed_epochs(self) -> int:
        """How many epochs the job has completed."""
        return self.definition.hyperparameters.completed_epochs(self.completed, len(self.examples))

    @property
    def is_done(self) -> bool:
        """Whether the job has no step and no evaluation left."""
        return self.completed >= self.total_steps and self.evaluating is None

    @property
    def is_between_steps(self) -> bool:
        """Whether the job's next pass begins a new step."""
        return self.under_way is None and self.evaluating is None

    @property
    def is_evaluation_due(self) -> bool:
        """Whether the job has to be evaluated after its completed steps."""
        wanted = self.definition.validation
        return wanted is not None and len(self.validation) > 0 and wanted.is_due(self.completed, self.total_steps)

    @property
    def suspended(self) -> SuspendedPass | None:
        """The pass of this job of which a part has been run; None: the job is between two passes."""
        if self.evaluating is not None:
            return self.evaluating.suspended
        return None if self.under_way is None else self.under_way.suspended

    @property
    def longest_next(self) -> int:
        """The tokens of the longest segment of the job's next pass, or of its next step; 0: it is not rendered yet."""
        if self.evaluating is not None:
            return longest_of(self.evaluating.group or ())
        if self.under_way is not None:
            return longest_of(self.under_way.passes[0]) if self.under_way.passes else 0
        return self._next.longest if self._next.step == self.completed + 1 else 0

    @property
    def size_next(self) -> tuple[int, int]:
        """The tokens and the targets of the job's next pass, or of its next step; 0 if it is not rendered yet."""
        if self.evaluating is not None:
            group = self.evaluating.group or ()
        elif self.under_way is not None:
            group = self.under_way.passes[0] if self.under_way.passes else ()
        else:
            return (self._next.tokens, self._next.targets) if self._next.step == self.completed + 1 else (0, 0)
        return tokens_and_targets([each.segment for each in group])

    @property
    def is_rendered(self) -> bool:
        """Whether all examples of the next step are rendered."""
        return self._next.step == self.completed + 1 and not self._next.unrendered

    def give_up(self) -> None:
        """Drop the step or evaluation in progress, so that its memory is free at once."""
        for each in (self.under_way, self.evaluating):
            if each is not None:
                each.suspended = None
        self.under_way = self.evaluating = None

    def prepare_batch(self, effort: Effort) -> bool:
        """Render further examples of the next step, at least one; whether all are rendered now.

        Raises:
            InvalidArgument: an example cannot be used.

        """
        return self._render_batch(effort)

    def check_further(self, effort: Effort) -> None:
        """Check further examples, at least one, so that a fault is found long before the step that would meet it.

        The training examples come first before one step, the validation set before the next.

        Raises:
            InvalidArgument: examples cannot be used.

        """
        both = (self.examples, self.validation)
        unchecked = [each for each in (both if self.completed % 2 == 0 else reversed(both)) if not each.is_checked]
        for place, each in enumerate(unchecked):
            each.check(effort, at_least=0 if place else 1)

    def next_batch(self) -> list[Segment]:
        """The segments of the next step's examples.

        Raises:
            InvalidArgument: an example cannot be used. Calls for a batch that was returned before do not raise it.

        """
        self._render_batch(None)
        return self._next.segments

    def _render_batch(self, effort: Effort | None) -> bool:
        if self._next.step != self.completed + 1:
            step = self.completed + 1
            self._next = _NextBatch(step=step, unrendered=deque(self.order.batch(step)))
        unrendered = self._next.unrendered
        while unrendered:
            segments = self.examples.take(unrendered[0], effort)
            self._next.segments += segments
            tokens, targets = tokens_and_targets(segments)
            self._next.tokens, self._next.targets = self._next.tokens + tokens, self._next.targets + targets
            self._next.longest = max(self._next.longest, *(each.tokens for each in segments))
            unrendered.popleft()
            if effort is not None and effort.is_spent:
                break
        return not unrendered

    def owned_segments(self, segments: Sequence[Segment], owner: int) -> list[OwnedSegment]:
        """The segments, each with the job's number in a pass (`owner`) and the number of its pair, if it is in one."""
        paired = self.objective.is_over_pairs
        return [
            OwnedSegment(segment=segment, owner=owner, pair=index // 2 if paired else None)
            for index, segment in enumerate(segments)
        ]

    def owned_validation_segments(self) -> Iterator[OwnedSegment]:
        """The validation examples' segments, each rendered when it is reached; for passes of this job alone.

        Raises:
            InvalidArgument: an example cannot be rendered, or is too long.

        """
        paired = self.objective.is_over_pairs
        for index in range(len(self.validation)):
            for segment in self.validation[index]:
                yield OwnedSegment(segment=segment, owner=0, pair=index if paired else None)


@dataclass(slots=True, kw_only=True)
class _NextBatch:
    """The examples of a step: the segments of the first ones, and the indices of those that are not rendered yet.

    `tokens` and `targets` are those of these segments, `longest` is how many tokens the longest of them has.
    """

    step: int
    segments: list[Segment] = field(default_factory=list)
    tokens: int = 0
    targets: int = 0
    longest: int = 0
    unrendered: deque[int] = field(default_factory=deque)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """The gradient of a job's mean loss over its batch with respect to its adapter, in fp32."""

    mean_loss: float
    predictions: Predictions
    gradient_P: Tensor
    tokens: int
    finite: bool


@dataclass(slots=True, kw_only=True)
class Batch:
    """One step of jobs that share passes: the passes that remain, and the sums over the passes that are done.

    `terms` is the number of terms of each job's mean loss.
    """

    jobs: Sequence[AdmittedJob]
    tokens: Sequence[int]
    terms: Sequence[int]
    passes: deque[list[OwnedSegment]]
    losses: list[float]
    predictions: list[Predictions]
    sums_P: list[Tensor] = field(default_factory=list)
    suspended: SuspendedPass | None = None
    """The pass of which a part has been run; None: the batch is between two passes."""

    @classmethod
    def of(cls, jobs: Sequence[AdmittedJob], *, max_tokens: int, max_targets: int) -> "Batch":
        """The next step of these jobs, split into passes of at most so many tokens and targets."""
        batches = [job.next_batch() for job in jobs]
        segments = [
            each
            for owner, (job, batch) in enumerate(zip(jobs, batches, strict=True))
            for each in job.owned_segments(batch, owner)
        ]
        return cls(
            jobs=jobs,
            tokens=[tokens_and_targets(batch)[0] for batch in batches],
            terms=[
                job.objective.terms([segment.targets for segment in batch])
                for job, batch in zip(jobs, batches, strict=True)
            ],
            passes=deque(split(segments, max_tokens=max_tokens, max_targets=max_targets)),
            losses=[0.0] * len(jobs),
            predictions=[Predictions()] * len(jobs),
        )

    @property
    def is_complete(self) -> bool:
        """Whether all passes are done."""
        return not self.passes and self.suspended is None

    def add(self, gradients_P: Sequence[Tensor]) -> None:
        """Add each job's gradients from one pass, in the dtype of the pass, to the job's sum in fp32."""
        if not self.sums_P:
            self.sums_P = [torch.empty_like(gradient_P, dtype=torch.float32) for gradient_P in gradients_P]
            torch._foreach_copy_(self.sums_P, list(gradients_P))
            return
        for sum_P, gradient_P in zip(self.sums_P, gradients_P, strict=True):
            sum_P.add_(gradient_P)

    def gradients(self) -> list[Gradient]:
        """Each job's gradient, after the last pass."""
        # The sum is finite only if all numbers are finite; computing it reads the numbers only once.
        totals = torch.stack([sum_P.sum() for sum_P in self.sums_P]).tolist()
        return [
            Gradient(
                mean_loss=loss,
                predictions=predictions,
                gradient_P=sum_P,
                tokens=tokens,
                finite=math.isfinite(loss) and math.isfinite(total),
            )
            for loss, predictions, sum_P, tokens, total in zip(
                self.losses, self.predictions, self.sums_P, self.tokens, totals, strict=True
            )
        ]


@dataclass(slots=True, kw_only=True)
class EvaluationPasses:
    """An evaluation of one job: the passes that remain, and the sums over the passes that are done.

    `group` has the segments of the next pass, and `groups` yields those of each later pass. `group` None: the next
    pass's segments have not been taken from `groups` yet, or no pass is left. `suspended` is the next pass if a part of
    it has been run. `totals` are the sums of losses of the done passes, in nats; `terms` is how many losses were summed
    in all.
    """

    groups: Iterator[list[OwnedSegment]]
    group: list[OwnedSegment] | None = None
    suspended: SuspendedPass | None = None
    totals: list[float] = field(default_factory=list)
    terms: int = 0
    predictions: Predictions = Predictions()

    @property
    def mean_loss(self) -> float:
        """The mean loss in nats, after the last pass."""
        return math.fsum(self.totals) / self.terms

    def result(self, job: AdmittedJob, compute_time: datetime) -> Evaluation:
        """The evaluation of this job, after the last pass."""
        return Evaluation(
            step=job.completed,
            epoch=job.completed_epochs,
            mean_loss=self.mean_loss,
            targets=self.predictions.targets,
            right_targets=self.predictions.right,
            compute_time=compute_time,
        )


def longest_of(group: Sequence[OwnedSegment]) -> int:
    """How many tokens the longest segment of a pass has; 0: there is none."""
    return max((each.segment.tokens for each in group), default=0)


def tokens_and_targets(batch: Sequence[Segment]) -> tuple[int, int]:
    """How many tokens a batch has, and how many targets."""
    return sum(segment.tokens for segment in batch), sum(segment.targets for segment in batch)


def apply_gradients(jobs: Sequence[AdmittedJob], gradients: Sequence[Gradient]) -> None:
    """Complete the step of these jobs: update their optimizers and weights, and copy the weights to their slots."""
    for job in jobs:
        job.completed += 1
    rates = sorted({job.definition.hyperparameters.learning_rate for job in jobs})
    for rate in rates:
        own = [index for index, job in enumerate(jobs) if job.definition.hyperparameters.learning_rate == rate]
        update(
            [jobs[index].optimizer for index in own],
            [jobs[index].weights_P for index in own],
            [gradients[index].gradient_P for index in own],
            steps=[jobs[index].completed for index in own],
            learning_rate=rate,
        )
    torch._foreach_copy_([job.adapter.weights_P for job in jobs], [job.weights_P for job in jobs])
