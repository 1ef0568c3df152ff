"""Many tuning jobs over one resident base: each pass, forward and backward, moves one job, or several at once.

A large batch takes several passes. Other jobs have their turns between them, and the job can be released there, so that
nobody waits for a step that may take an hour.

Reproducible: in bfloat16 on a CPU, and everywhere with `max_jobs_per_step=1`, a job's adapter is a function of its
base, data, hyperparameters and seed, to the last bit, whatever else is admitted, stopped or resumed. That holds on one
kind of processor with one number of threads.

Shape suffixes: T packed tokens, N targets, J jobs, P all numbers of one adapter.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.modeling import adapter_format
from tuningfork.modeling.capture import Capture
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.lora import AdapterWeights
from tuningfork.training.batches import DataOrder, Placed, Segment, split
from tuningfork.training.checkpoint import TrainingState, load_state, save_state
from tuningfork.training.optimizer import AdamW, update
from tuningfork.training.pass_runner import PassRunner
from tuningfork.training.runs import Batch, Gradient, Run, TrainingJob, tokens_and_targets

__all__ = ["StepReport", "TrainingDiverged", "TrainingEngine", "TrainingJob"]

_TOKENS_PER_PASS = 16_384
"""A larger batch is cut into several passes, whose gradients are summed in fp32; a longer example goes alone."""

_SHARED_TOKENS_ON_CPU = 2048
"""A larger pass gains nothing by company on a CPU, where arithmetic bounds it, and makes others wait."""

_LOGITS_PER_PASS = 2**28
"""Likewise for targets times vocabulary: 1 GiB of fp32 logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One job's step. `tokens` counts all tokens of its batch; `done` says that it was the last."""

    job_id: JobId
    snapshot: Snapshot
    tokens: int
    done: bool


class TrainingDiverged(InvalidArgument):
    """A job's loss or gradient is no longer a finite number."""

    def __init__(self, job_id: JobId, step: int, loss: float, learning_rate: float) -> None:
        reason = (
            f"the training diverged at step {step}: its loss is {loss} or its gradient is not finite. The learning "
            f"rate {learning_rate:g} is too high for this data; try {learning_rate / 10:g}"
        )
        super().__init__(
            reason, violations=(FieldViolation(field="hyperparameters.learning_rate", description=reason),)
        )
        self.job_id = job_id
        self._given = (job_id, step, loss, learning_rate)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._given


class TrainingEngine:
    """Trains admitted jobs by turns. Not thread-safe; while it lives, the base's slots are its own.

    Args:
        base: stays resident and frozen.
        clock: says when a step was computed; aware, in UTC.
        max_jobs_per_step: how many jobs share a forward and backward pass; `sharing.jobs_per_pass` says how many
            may. Fair either way: jobs take turns, and a large pass counts as several.
        capture: what repeats the operations of passes; None: CUDA graphs on a GPU, and nothing elsewhere.

    """

    def __init__(
        self,
        base: LoadedBase,
        *,
        clock: Callable[[], datetime],
        max_jobs_per_step: int = 1,
        capture: Capture | None = None,
    ) -> None:
        if base.decoder is not None and base.luxuries.prepacked:
            base.decoder.pack(backward=base.luxuries.transposed)
        self._base = base
        self._clock = clock
        self._passes = PassRunner(base, jobs_per_pass=max_jobs_per_step, capture=capture)
        self._targets_per_pass = _LOGITS_PER_PASS // base.model.config.get_text_config().vocab_size
        self._shared_tokens = _TOKENS_PER_PASS if base.device.type == "cuda" else _SHARED_TOKENS_ON_CPU
        self._runs: dict[JobId, Run] = {}
        # How many those had had who had the last one.
        self._turn = 0

    def admit(self, job: TrainingJob, checkpoint: Path | None = None) -> int:
        """Take the job up, from the checkpoint in the directory if there is one; returns its completed steps.

        Without a checkpoint it begins with its initial adapter's weights or fresh ones, and with a fresh optimizer.

        Raises:
            InvalidArgument: examples do not fit the base's context; `violations` names each (`examples[3]`). Or the
                initial adapter does not fit the base, has another shape, or cannot be read.
            InternalError: the checkpoint is damaged or belongs to another job.

        """
        segments = self._render(job)
        slots, device = self._base.slots, self._base.device
        # None where the weights are a function of what the digest covers anyway.
        initial_P = slots.flatten(_initial(job)) if job.initial_adapter else None
        digest = _digest(job, segments, initial_P)
        state = load_state(checkpoint, digest) if checkpoint else None
        if state is None:
            weights_P = slots.flatten(slots.fresh(job.adapter, job.seed)) if initial_P is None else initial_P
            state = TrainingState(job=digest, step=0, weights_P=weights_P, optimizer=AdamW.fresh(weights_P))
        weights_P = state.weights_P.to(device)
        slot = slots.load(slots.unflatten(job.adapter, weights_P), trainable=True)
        self._runs[job.id] = Run(
            job=job,
            digest=digest,
            segments=segments,
            order=DataOrder(
                example_count=len(segments),
                epoch_count=job.hyperparameters.epoch_count,
                batch_size=job.hyperparameters.batch_size,
                seed=job.seed,
            ),
            slot=slot,
            adapter=slots.trainable(slot),
            weights_P=weights_P,
            optimizer=state.optimizer.to(device),
            completed=state.step,
            # As if it had just had a small one: whoever waits comes first, but nobody's large ones are waited out.
            turns=self._turn + 1,
        )
        return state.step

    def step(self) -> list[StepReport]:
        """Go on until a job, or several in one pass, completes an optimizer step; empty when every job is done.

        Raises:
            TrainingDiverged: see `advance`.

        """
        while any(run.completed < run.total_steps for run in self._runs.values()):
            if reports := self.advance():
                return reports
        return []

    def advance(self) -> list[StepReport]:
        """One forward and backward pass for the jobs whose turn it is, and the steps that this completes.

        Raises:
            TrainingDiverged: for one job, which is dropped; no other job has moved, and the next call goes on.

        """
        runs = self._next_runs()
        if not runs:
            return []
        under_way, runs[0].under_way = runs[0].under_way, None
        batches = [under_way] if under_way else [self._begin(part) for part in self._passes.dealt_out(runs)]
        with _deterministic():
            self._passes.advance(batches)
            if batches[0].passes:
                runs[0].under_way = batches[0]
                return []
            runs = [run for batch in batches for run in batch.runs]
            gradients = [gradient for batch in batches for gradient in self._gradients(batch)]
            for run, gradient in zip(runs, gradients, strict=True):
                if not gradient.finite:
                    self.release(run.job.id)
                    rate = run.job.hyperparameters.learning_rate
                    raise TrainingDiverged(run.job.id, run.completed + 1, gradient.mean_loss, rate)
            return self._apply(runs, gradients)

    def state(self, job_id: JobId) -> TrainingState:
        """A copy of the job's whole state, on the CPU: once it is saved, `admit` resumes from it to the bit."""
        run = self._runs[job_id]
        mean_P, square_P = run.optimizer.mean_P, run.optimizer.square_P
        weights_P, mean_P, square_P = (each.to("cpu", copy=True) for each in (run.weights_P, mean_P, square_P))
        optimizer = AdamW(mean_P, square_P)
        return TrainingState(job=run.digest, step=run.completed, weights_P=weights_P, optimizer=optimizer)

    def save_checkpoint(self, job_id: JobId, directory: Path) -> None:
        """Keep the job's state, in place of an earlier one there."""
        save_state(directory, self.state(job_id))

    def save_adapter(self, job_id: JobId, directory: Path) -> None:
        """Write the adapter as it is now, in PEFT's format."""
        run = self._runs[job_id]
        weights = self._base.slots.unflatten(run.job.adapter, run.weights_P)
        base = self._base
        adapter_format.save(
            directory, weights, base.location, base_revision=base.revision, base_fingerprint=base.fingerprint
        )

    def release(self, job_id: JobId) -> None:
        """Forget the job and free its memory; nothing is saved."""
        run = self._runs.pop(job_id)
        self._base.slots.unload(run.slot)

    def _render(self, job: TrainingJob) -> tuple[Segment, ...]:
        segments = tuple(Segment.of(self._base.chat.render_example(example)) for example in job.examples)
        limit = self._base.context_tokens
        violations = tuple(
            FieldViolation(
                field=f"examples[{index}]",
                description=f"input and output are {segment.first_target} + {segment.targets} tokens, and the base "
                f"model's context is {limit}: shorten or split the example",
            )
            for index, segment in enumerate(segments)
            if segment.tokens > limit
        )
        if violations:
            lines = [f"{each.field}: {each.description}" for each in violations[:MAX_REPORTED_VIOLATIONS]]
            raise InvalidArgument("\n".join(lines), violations=violations)
        return segments

    def _next_runs(self) -> list[Run]:
        """Who has had the fewest turns, and beside them the next ones, as far as they fit into the same pass."""
        due = sorted((run for run in self._runs.values() if run.completed < run.total_steps), key=lambda run: run.turns)
        chosen = due[:1]
        if chosen and chosen[0].under_way is None:
            chosen += self._company(chosen[0], [run for run in due[1:] if run.under_way is None])
        if chosen:
            self._turn = chosen[0].turns
        for run in chosen:
            # To the end of the queue.
            self._runs[run.job.id] = self._runs.pop(run.job.id)
        return chosen

    def _company(self, first: Run, others: Sequence[Run]) -> list[Run]:
        """Those who can move with the first one: only a batch that is a single job's is ever cut into several."""
        places = self._passes.most_jobs - 1
        tokens, targets = tokens_and_targets(first.next_batch()) if places else (0, 0)
        company = []
        for run in others[:places]:
            more_tokens, more_targets = tokens_and_targets(run.next_batch())
            tokens, targets = tokens + more_tokens, targets + more_targets
            fits = tokens <= self._shared_tokens and targets <= self._targets_per_pass
            if not (fits and self._passes.beside(first, run)):
                break
            company.append(run)
        return company

    def _begin(self, runs: Sequence[Run]) -> Batch:
        """The next step of these jobs, before its first pass."""
        batches = [run.next_batch() for run in runs]
        sizes = [tokens_and_targets(batch) for batch in batches]
        placed = [Placed(segment=segment, owner=owner) for owner, batch in enumerate(batches) for segment in batch]
        return Batch(
            runs=runs,
            tokens=[tokens for tokens, _ in sizes],
            targets=[targets for _, targets in sizes],
            passes=deque(split(placed, max_tokens=_TOKENS_PER_PASS, max_targets=self._targets_per_pass)),
            losses=[0.0] * len(runs),
        )

    def _gradients(self, batch: Batch) -> list[Gradient]:
        gradients = batch.gradients()
        if len(gradients) > 1 and not all(gradient.finite for gradient in gradients):
            # What is not finite spreads to whoever shares the pass; alone, each job answers for itself.
            return [self._alone(run) for run in batch.runs]
        return gradients

    def _alone(self, run: Run) -> Gradient:
        batch = self._begin([run])
        while batch.passes:
            self._passes.advance([batch])
        return batch.gradients()[0]

    def _apply(self, runs: Sequence[Run], gradients: Sequence[Gradient]) -> list[StepReport]:
        for run in runs:
            run.completed += 1
        rates = sorted({run.job.hyperparameters.learning_rate for run in runs})
        for rate in rates:
            own = [index for index, run in enumerate(runs) if run.job.hyperparameters.learning_rate == rate]
            update(
                [runs[index].optimizer for index in own],
                [runs[index].weights_P for index in own],
                [gradients[index].gradient_P for index in own],
                steps=[runs[index].completed for index in own],
                learning_rate=rate,
            )
        torch._foreach_copy_([run.adapter.weights_P for run in runs], [run.weights_P for run in runs])
        return [self._report(run, gradient) for run, gradient in zip(runs, gradients, strict=True)]

    def _report(self, run: Run, gradient: Gradient) -> StepReport:
        epoch = run.job.hyperparameters.completed_epochs(run.completed, len(run.segments))
        snapshot = Snapshot(step=run.completed, epoch=epoch, mean_loss=gradient.mean_loss, compute_time=self._clock())
        done = run.completed == run.total_steps
        return StepReport(job_id=run.job.id, snapshot=snapshot, tokens=gradient.tokens, done=done)


def _initial(job: TrainingJob) -> AdapterWeights:
    """The weights that the job goes on from, of which nobody else holds a copy."""
    assert job.initial_adapter is not None  # noqa: S101 - asked by the caller
    weights = adapter_format.load(job.initial_adapter)
    if weights.shape != job.adapter:
        raise InvalidArgument(
            f"the adapter to go on from has rank {weights.shape.rank} and alpha {weights.shape.alpha:g}, and the job "
            f"rank {job.adapter.rank} and alpha {job.adapter.alpha:g}; go on with the shape that it has"
        )
    return weights


_LAYOUT = "groups, B transposed"
"""In which order a checkpoint's flat vectors hold an adapter's numbers; those of another order are begun anew."""


def _digest(job: TrainingJob, segments: Sequence[Segment], initial_P: Tensor | None) -> str:
    digest = hashlib.sha256(repr((_LAYOUT, job.hyperparameters, job.adapter, job.seed)).encode())
    if initial_P is not None:
        digest.update(initial_P.numpy().tobytes())
    for segment in segments:
        digest.update(segment.first_target.to_bytes(8, "big"))
        digest.update(segment.ids_T.numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _deterministic() -> Iterator[None]:
    """Forbid torch the faster ways whose sums depend on chance; where it has no other way (on GPUs), it warns."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Memory that is about to be written need not be filled first.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
