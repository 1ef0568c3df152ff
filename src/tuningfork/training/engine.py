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

from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.device.capture import Capture
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.batches import DataOrder, split
from tuningfork.training.deterministic import deterministic
from tuningfork.training.effort import Effort, Efforts
from tuningfork.training.examples import RenderedExamples
from tuningfork.training.initial_weights import initial_weights
from tuningfork.training.job_digest import digest_of
from tuningfork.training.jobs import (
    AdmittedJob,
    Batch,
    EvaluationPasses,
    Gradient,
    TrainingJob,
    apply_gradients,
    tokens_and_targets,
)
from tuningfork.training.objectives import objective_of
from tuningfork.training.optimizer import AdamW
from tuningfork.training.pass_runner import PassRunner
from tuningfork.training.passes import targets_per_block
from tuningfork.training.reports import (
    EvaluationReport,
    ExamplesRefused,
    ExamplesUnrendered,
    Report,
    StepReport,
    not_finite,
)
from tuningfork.training.savepoint import TrainingState, load_state, recorded_job, save_state
from tuningfork.training.sharing import jobs_per_pass
from tuningfork.training.turns import OwnerTurns, evenly
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

_Jobs = Sequence[AdmittedJob]


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

    """

    def __init__(
        self,
        base: LoadedBase,
        *,
        clock: Callable[[], datetime],
        max_jobs_per_step: int | None = 1,
        capture: Capture | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        if base.decoder is not None and base.weight_copies.prepacked:
            base.decoder.pack(backward=base.weight_copies.transposed)
        if max_jobs_per_step is None:
            # `jobs_per_pass` tests the base's products, so the weights are packed first, as passes use them.
            max_jobs_per_step = jobs_per_pass(base)
        self._base = base
        self._clock = clock
        self._efforts = Efforts(monotonic)
        self._passes = PassRunner(base, jobs_per_pass=max_jobs_per_step, capture=capture)
        self._targets_per_pass = targets_per_block(base)
        self._shared_tokens = _TOKENS_PER_PASS if base.device.type == "cuda" else _SHARED_TOKENS_ON_CPU
        self._pass_tokens = UNDIVIDED_TOKENS if is_undivided(base) else _TOKENS_PER_PASS
        self._jobs: dict[JobId, AdmittedJob] = {}
        self._owners = OwnerTurns()

    def admit(self, job: TrainingJob, savepoint: Path | None = None) -> int:
        """Admit a job, resuming it from the savepoint in the directory if there is one; returns its completed steps.

        Without a savepoint the job begins with its initial adapter's weights or new ones, and with a new optimizer.

        Raises:
            InvalidArgument: examples do not fit the base's context, or are not of the kind that the objective learns
                from; `violations` names each (`examples[3]`, `validation[0]`). Of a large dataset only the first
                examples are checked here; the others are checked between steps (`ExamplesRefused`).
            SourceDamaged: the initial adapter does not fit the base, has another shape, or cannot be read.
            SavepointDamaged: the savepoint is damaged or belongs to another job.
            InternalError: the base cannot render examples.

        """
        objective = objective_of(job.hyperparameters.objective)
        chat, context, over_pairs = self._base.chat, self._base.context_tokens, objective.is_over_pairs
        rendered = partial(RenderedExamples, chat=chat, context_tokens=context, over_pairs=over_pairs)
        examples = rendered(job.examples)
        validation = rendered(job.validation.examples if job.validation else (), path="validation")
        for each in (examples, validation):
            each.check(self._efforts.at_admission(alone=not self._jobs))
        slots, device = self._base.slots, self._base.device
        # None without an initial adapter: the weights follow from the job's seed, which the digest covers.
        initial_P = initial_weights(job, slots) if job.initial_adapter else None
        digest = digest_of(job, examples, initial_P, recorded_job(savepoint) if savepoint else None)
        if initial_P is None:
            initial_P = slots.flatten(slots.fresh(job.adapter, job.seed))
        state = load_state(savepoint, digest, len(initial_P)) if savepoint else None
        if state is None:
            state = TrainingState(job=digest, step=0, weights_P=initial_P, optimizer=AdamW.fresh(initial_P))
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
            turns=self._owners.first_turns(job.owner),
        )
        # The evaluation may have been reported before the savepoint was written; it is repeated, with the same result.
        self._evaluate_if_due(admitted)
        return state.step

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
        return TrainingState(job=job.digest, step=job.completed, weights_P=weights_P, optimizer=AdamW(mean_P, square_P))

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

    def _prepare(self, job: AdmittedJob, effort: Effort) -> bool:
        """Check some examples of the job, and render those of its next pass, at least one; whether all are rendered.

        Raises:
            ExamplesRefused: an example cannot be rendered or is too long; the job is dropped.
            ExamplesUnrendered: see `advance`.

        """
        try:
            if job.evaluating is not None:
                if job.evaluating.group is None:
                    job.evaluating.group = next(job.evaluating.groups, None)
                return True
            if is_ready := job.prepare_batch(effort):
                # The validation set is checked too, so that a fault in it is found before the job's last step.
                (job.validation if job.examples.is_checked else job.examples).check(effort)
        except InvalidArgument as error:
            self.release(job.definition.id)
            raise ExamplesRefused(job.definition.id, error.message, error.violations) from error
        except InternalError as error:
            # An evaluation is begun again, since its examples come from a generator, which has ended with the error.
            job.evaluating = None
            self._evaluate_if_due(job)
            raise ExamplesUnrendered(job.definition.id, error.message) from error
        return is_ready

    def _next_jobs(self) -> list[AdmittedJob]:
        """Choose the job whose turn it is, and further jobs, fewest turns first, that can be computed with it.

        No jobs, if the turn was spent on rendering a part of its next step's examples. Each such part is a turn of its
        job, also if it was rendered with what was left of another job's effort.
        """
        jobs = list(self._jobs.values())
        waiting = [job for job in jobs if not (job.is_done or job.has_to_wait(jobs, self._shared_tokens))]
        due = self._owners.in_order(waiting)
        if self._base.device.type == "cpu":  # on a GPU, small passes take as long with any number of jobs
            due = evenly(due)
        chosen, effort, unready = due[:1], self._efforts.before_pass(), list[AdmittedJob]()
        if chosen and chosen[0].under_way is None:
            unready = [] if self._prepare(chosen[0], effort) else [*chosen]
            if chosen[0].has_to_wait(jobs, self._shared_tokens):
                return []
            if chosen[0].evaluating is not None:
                chosen += self._parallel_evaluations(chosen[0], [job for job in due[1:] if job.evaluating], effort)
            elif not unready:
                between = [job for job in due[1:] if job.is_between_steps]
                joining, unready = self._jobs_sharing_pass(chosen[0], between, effort)
                chosen += joining
        self._owners.choose([*chosen, *(job for job in unready if job is not chosen[0])])
        for job in chosen:
            # Move the chosen jobs to the end of the queue.
            self._jobs[job.definition.id] = self._jobs.pop(job.definition.id)
        for job in unready:
            job.turns += 1
        return chosen if not unready or unready[0] is not chosen[0] else []

    def _parallel_evaluations(self, first: AdmittedJob, others: _Jobs, effort: Effort) -> list[AdmittedJob]:
        """The jobs whose next evaluation pass can be computed in parallel with the first job's."""
        joining: list[AdmittedJob] = []
        for job in others[: self._passes.lanes - 1]:
            self._prepare(job, effort)
            if self._passes.is_evaluation_small(first) and self._passes.is_evaluation_small(job):
                joining.append(job)
        return joining

    def _jobs_sharing_pass(self, first: AdmittedJob, others: _Jobs, effort: Effort) -> tuple[_Jobs, list[AdmittedJob]]:
        """The jobs that can share the first job's pass, and those whose batches this effort was too little to render.

        The batches of all these jobs together fit into one pass; a batch that takes several passes is never shared.
        """
        places = self._passes.most_jobs - 1
        tokens, targets = tokens_and_targets(first.next_batch()) if places else (0, 0)
        joining, unready = list[AdmittedJob](), list[AdmittedJob]()
        for job in others[:places]:
            if not self._prepare(job, effort):
                unready.append(job)
                continue
            more_tokens, more_targets = tokens_and_targets(job.next_batch())
            tokens, targets = tokens + more_tokens, targets + more_targets
            fits = tokens <= self._shared_tokens and targets <= self._targets_per_pass
            if not (fits and self._passes.can_advance_together(first, job)):
                break
            joining.append(job)
        return joining, unready

    def _begin(self, jobs: Sequence[AdmittedJob]) -> Batch:
        """Begin the next step of these jobs."""
        return Batch.of(jobs, max_tokens=self._pass_tokens, max_targets=self._targets_per_pass)

    def _evaluate_if_due(self, job: AdmittedJob) -> None:
        """Make the job's next passes an evaluation, if one is due after its completed steps."""
        if job.is_evaluation_due:
            segments = job.owned_validation_segments()
            groups = split(segments, max_tokens=self._shared_tokens, max_targets=self._targets_per_pass)
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
        )
        self._evaluate_if_due(job)
        return StepReport(job_id=job.definition.id, snapshot=snapshot, tokens=gradient.tokens, done=job.is_done)
