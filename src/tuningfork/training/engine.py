"""Trains many jobs over one resident base: each forward and backward pass advances one job, or several at once.

A large batch takes several passes. Between two passes other jobs have their turns, and the job can be released, so
nothing has to wait for the end of a step, which may take an hour.

Reproducible: in bfloat16 on a CPU, and everywhere with `max_jobs_per_step=1`, a job's adapter is a function of its
base, data, hyperparameters and seed, to the last bit, whatever else is admitted, stopped or resumed. On another kind of
processor, or with another number of threads, the last bits may differ.

Shape suffixes: T packed tokens, N targets, J jobs, P all numbers of one adapter.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import torch

from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.device.available_memory import Memory, available_memory
from tuningfork.modeling.device.capture import Capture
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.batches import DataOrder, split
from tuningfork.training.deterministic import deterministic
from tuningfork.training.examples import RenderedExamples
from tuningfork.training.initial_weights import check_room, initial_weights
from tuningfork.training.job_digest import digest_of
from tuningfork.training.jobs import (
    AdmittedJob,
    Batch,
    EvaluationPasses,
    Gradient,
    TrainingJob,
    apply_gradients,
)
from tuningfork.training.objectives import objective_of
from tuningfork.training.optimizer import AdamW
from tuningfork.training.pass_runner import PassRunner
from tuningfork.training.passes import targets_per_pass
from tuningfork.training.reports import (
    EvaluationReport,
    ExamplesRefused,
    ExamplesUnrendered,
    Report,
    StepReport,
    not_finite,
)
from tuningfork.training.same_base import check_same_base
from tuningfork.training.savepoint import TrainingState, load_state, recorded_job, save_state
from tuningfork.training.scheduler import PassLimits, Scheduler
from tuningfork.training.sharing import jobs_per_pass
from tuningfork.training.undivided import UNDIVIDED_TOKENS, is_undivided

__all__ = [
    "EvaluationReport",
    "ExamplesRefused",
    "Report",
    "StepReport",
    "TrainingEngine",
    "TrainingJob",
]

_TOKENS_PER_PASS = 16_384
"""The most tokens of a pass. A larger batch takes several passes, whose gradients are summed in fp32. An example with
more tokens has a pass of its own."""

_SHARED_TOKENS_ON_CPU = 2048
"""On a CPU, the most tokens of a pass that jobs share. A larger pass is bound by arithmetic: sharing it gains nothing,
and makes other jobs wait."""


class TrainingEngine:
    """Trains admitted jobs in turns. Not thread-safe; nothing else may use the base's slots meanwhile.

    Args:
        base: the resident base, whose weights are not changed.
        clock: the time now, for snapshots; timezone-aware, in UTC.
        max_jobs_per_step: the most jobs that share a forward and backward pass; None: `sharing.jobs_per_pass` decides.
            In either case jobs take turns, and a large pass counts as several turns.
        capture: makes graphs of passes; None: CUDA graphs on a GPU, no graphs elsewhere.
        monotonic: the seconds by which rendering is bounded; None: it is bounded by characters alone, so that the order
            of jobs depends on nothing else.
        measure: the memory of a device at this moment; None: the system does not report it.

    """

    def __init__(
        self,
        base: LoadedBase,
        *,
        clock: Callable[[], datetime],
        max_jobs_per_step: int | None = 1,
        capture: Capture | None = None,
        monotonic: Callable[[], float] | None = None,
        measure: Callable[[torch.device], Memory | None] = available_memory,
    ) -> None:
        if base.decoder is not None and base.weight_copies.prepacked:
            base.decoder.pack(backward=base.weight_copies.transposed)
        if max_jobs_per_step is None:
            # `jobs_per_pass` tests the base's products, so the weights are packed first, as passes use them.
            max_jobs_per_step = jobs_per_pass(base)
        self._base = base
        self._clock = clock
        self._measure = measure
        self._passes = PassRunner(base, jobs_per_pass=max_jobs_per_step, capture=capture)
        self._pass_tokens = UNDIVIDED_TOKENS if is_undivided(base) else _TOKENS_PER_PASS
        self._shared = PassLimits(
            tokens=_TOKENS_PER_PASS if base.device.type == "cuda" else _SHARED_TOKENS_ON_CPU,
            targets=targets_per_pass(base),
            own_tokens=self._pass_tokens,
        )
        self._scheduler = Scheduler(self._passes, self._shared, even=base.device.type == "cpu", monotonic=monotonic)
        self._jobs: dict[JobId, AdmittedJob] = {}

    def admit(self, job: TrainingJob, savepoint: Path | None = None) -> int:
        """Admit a job, resuming it from the savepoint in the directory if there is one; returns its completed steps.

        Without a savepoint the job begins with its initial adapter's weights or new ones, and with a new optimizer.

        Raises:
            InvalidArgument: the machine has too little memory for the adapter; or examples do not fit the base's
                context, or are not of the kind that the objective learns from: `violations` names each (`examples[3]`).
                Of a large dataset only the first examples are checked here, the others between steps
                (`ExamplesRefused`).
            MemoryShort: there is too little free memory for the adapter at the moment. A job with a savepoint is
                admitted all the same.
            SourceDamaged: the initial adapter does not fit the base, has another shape, or cannot be read.
            BaseWeightsReplaced, SavepointOverOtherWeights: see `check_same_base`.
            SavepointDamaged: the savepoint is damaged or belongs to another job.
            InternalError: the base cannot render examples.
        """
        check_same_base(self._base, savepoint=savepoint, initial_adapter=job.initial_adapter)
        objective = objective_of(job.hyperparameters.objective)
        if savepoint is None:
            # A job that has begun goes on, since its adapter has fitted before.
            check_room(self._base.slots, job.adapter, self._measure, converted=self._base.converted)
        examples, validation = self._checked_examples(job, over_pairs=objective.is_over_pairs)
        slots, device = self._base.slots, self._base.device
        # None without an initial adapter: the weights follow from the job's seed, which the digest covers.
        initial_P = initial_weights(job, slots) if job.initial_adapter else None
        digest = digest_of(job, examples, initial_P, recorded_job(savepoint) if savepoint else None)
        if initial_P is None:
            initial_P = slots.flatten(slots.fresh(job.adapter, job.seed))
        found = load_state(savepoint, digest, len(initial_P)) if savepoint else None
        state = found or TrainingState(job=digest, step=0, weights_P=initial_P, optimizer=AdamW.fresh(initial_P))
        weights_P = state.weights_P.to(device)
        slot = slots.load(slots.unflatten(job.adapter, weights_P), trainable=True)
        reference = None
        if objective.is_over_pairs:
            # Loaded as trainable, since only trainable slots can be in a cohort; its gradients are never computed.
            reference = slots.load(slots.unflatten(job.adapter, initial_P), trainable=True)
        admitted = self._jobs[job.id] = AdmittedJob(
            definition=job,
            digest=digest,
            objective=objective,
            examples=examples,
            validation=validation,
            order=DataOrder(
                example_count=len(examples),
                epoch_count=job.hyperparameters.epoch_count,
                batch_size=job.hyperparameters.batch_size,
                seed=job.seed,
            ),
            slot=slot,
            reference=reference,
            adapter=slots.trainable(slot),
            weights_P=weights_P,
            optimizer=state.optimizer.to(device),
            completed=state.step,
            turns=self._scheduler.first_turns(job.owner),
        )
        # The evaluation may have been reported before the savepoint was written; it is repeated, with the same result.
        self._evaluate_if_due(admitted)
        return state.step

    def _checked_examples(self, job: TrainingJob, *, over_pairs: bool) -> tuple[RenderedExamples, RenderedExamples]:
        """The examples of the job and of its validation set, of which the first are rendered and checked."""
        chat, context = self._base.chat, self._base.context_tokens
        rendered = partial(RenderedExamples, chat=chat, context_tokens=context, over_pairs=over_pairs)
        examples = rendered(job.examples)
        validation = rendered(job.validation.examples if job.validation else (), path="validation")
        for each in (examples, validation):
            each.check(self._scheduler.at_admission(alone=not self._jobs))
        return examples, validation

    def step(self) -> Sequence[Report]:
        """Run passes until at least one job completes an optimizer step or an evaluation; return the reports.

        The result is empty when every job is done.

        Raises:
            TrainingDiverged, ExamplesRefused, ExamplesUnrendered: see `advance`.

        """
        while any(not job.is_done for job in self._jobs.values()):
            if reports := self.advance():
                return reports
        return []

    def advance(self) -> Sequence[Report]:
        """Run one pass for the jobs whose turn it is; return the steps and evaluations that it completes.

        Raises:
            TrainingDiverged, ExamplesRefused: one job has failed and is dropped. The other jobs have not changed, and
                the next call continues them.
            ExamplesUnrendered: the next examples of one job could not be rendered. No job has changed.

        """
        jobs = self._next_jobs()
        if not jobs:
            return []
        if jobs[0].evaluating is not None:
            return self._evaluate(jobs)
        under_way, jobs[0].under_way = jobs[0].under_way, None
        batches = [under_way] if under_way else [self._begin(part) for part in self._passes.split_for_lanes(jobs)]
        with deterministic():
            self._passes.advance(batches)
            if not batches[0].is_complete:
                jobs[0].under_way = batches[0]
                return []
            jobs = [job for batch in batches for job in batch.jobs]
            gradients = [gradient for batch in batches for gradient in self._gradients(batch)]
            for job, gradient in zip(jobs, gradients, strict=True):
                if not gradient.finite:
                    raise self._not_finite(job, job.completed + 1, gradient.mean_loss)
            return self._apply(jobs, gradients)

    def is_between_steps(self, job_id: JobId) -> bool:
        """Whether no step and no evaluation of the job is in progress, so that `state` contains all its progress."""
        return self._jobs[job_id].is_between_steps

    def state(self, job_id: JobId) -> TrainingState:
        """A copy of the job's whole state, on the CPU. A job that resumes from it repeats the same bits."""
        job = self._jobs[job_id]
        kept = (job.weights_P, job.optimizer.mean_P, job.optimizer.square_P)
        weights_P, mean_P, square_P = (each.to("cpu", copy=True) for each in kept)
        return TrainingState(
            job=job.digest,
            base=self._base.fingerprint,
            kept_in=self._base.weights,
            step=job.completed,
            weights_P=weights_P,
            optimizer=AdamW(mean_P, square_P),
        )

    def write_savepoint(self, job_id: JobId, directory: Path) -> None:
        """Write the job's state as a savepoint into the directory, replacing an earlier one."""
        save_state(directory, self.state(job_id))

    def save_adapter(self, job_id: JobId, directory: Path) -> None:
        """Write the adapter's current weights, in PEFT's format."""
        self.adapter_writer(job_id)(directory)

    def adapter_writer(self, job_id: JobId) -> Callable[[Path], None]:
        """A function that writes the adapter, with the weights that it has now, into a directory."""
        job, base = self._jobs[job_id], self._base
        weights = base.slots.unflatten(job.definition.adapter, job.weights_P.to("cpu", copy=True))

        def write(directory: Path) -> None:
            adapter_format.save(
                directory, weights, base.exported_name, base_revision=base.revision, base_fingerprint=base.fingerprint
            )

        return write

    def release(self, job_id: JobId) -> None:
        """Drop the job and free its memory; nothing is saved."""
        job = self._jobs.pop(job_id)
        job.give_up()
        self._base.slots.unload(job.slot)
        if job.reference is not None:
            self._base.slots.unload(job.reference)

    def _next_jobs(self) -> list[AdmittedJob]:
        """The jobs of the next pass; see `Scheduler.next_jobs`."""
        try:
            return self._scheduler.next_jobs(self._jobs)
        except ExamplesRefused as error:
            self.release(error.job_id)
            raise
        except ExamplesUnrendered as error:
            # Its evaluation is begun again, since the examples come from a generator, which has ended with the error.
            job = self._jobs[error.job_id]
            job.evaluating = None
            self._evaluate_if_due(job)
            raise

    def _begin(self, jobs: Sequence[AdmittedJob]) -> Batch:
        """Begin the next step of these jobs."""
        return Batch.of(jobs, max_tokens=self._pass_tokens, max_targets=self._shared.targets)

    def _evaluate_if_due(self, job: AdmittedJob) -> None:
        """Make the job's next passes an evaluation, if one is due after its completed steps."""
        if job.is_evaluation_due:
            segments = job.owned_validation_segments()
            groups = split(segments, max_tokens=self._shared.tokens, max_targets=self._shared.targets)
            job.evaluating = EvaluationPasses(groups=groups)

    def _evaluate(self, jobs: Sequence[AdmittedJob]) -> list[EvaluationReport]:
        """Run the next evaluation pass of these jobs, or report the first job's evaluation if it has no pass left.

        Between two passes other jobs have their turns.
        """
        first = jobs[0].evaluating
        if first is not None and first.group is None:
            return [self._evaluated(jobs[0], first)]
        with deterministic():
            self._passes.evaluate(jobs)
        return []

    def _evaluated(self, job: AdmittedJob, passes: EvaluationPasses) -> EvaluationReport:
        job.evaluating = None
        evaluation = passes.result(job, self._clock())
        if not math.isfinite(evaluation.mean_loss):
            raise self._not_finite(job, job.completed, evaluation.mean_loss)
        return EvaluationReport(job_id=job.definition.id, evaluation=evaluation, done=job.is_done)

    def _not_finite(self, job: AdmittedJob, step: int, loss: float) -> Exception:
        """Drop the job, whose loss or gradient is not finite, and return the error to raise."""
        self.release(job.definition.id)
        return not_finite(job.definition.id, step, loss, job.definition.hyperparameters.learning_rate, job.completed)

    def _gradients(self, batch: Batch) -> list[Gradient]:
        gradients = batch.gradients()
        if len(gradients) > 1 and not all(gradient.finite for gradient in gradients):
            # Numbers that are not finite spread to all jobs of a shared pass, so compute each job again alone.
            return [self._alone(job) for job in batch.jobs]
        return gradients

    def _alone(self, job: AdmittedJob) -> Gradient:
        batch = self._begin([job])
        while not batch.is_complete:
            self._passes.advance([batch])
        return batch.gradients()[0]

    def _apply(self, jobs: Sequence[AdmittedJob], gradients: Sequence[Gradient]) -> list[StepReport]:
        apply_gradients(jobs, gradients)
        return [self._report(job, gradient) for job, gradient in zip(jobs, gradients, strict=True)]

    def _report(self, job: AdmittedJob, gradient: Gradient) -> StepReport:
        snapshot = Snapshot(
            step=job.completed,
            epoch=job.completed_epochs,
            mean_loss=gradient.mean_loss,
            compute_time=self._clock(),
            targets=gradient.predictions.targets,
            right_targets=gradient.predictions.right,
        )
        self._evaluate_if_due(job)
        return StepReport(job_id=job.definition.id, snapshot=snapshot, tokens=gradient.tokens, done=job.is_done)
