"""Runs passes: by CUDA graphs where there are any, and several in parallel on a CPU if they are small.

A small pass is too short for several threads: they would wait for each other at each of its thousand operations.
Instead, small passes run in lanes, one core each. A lane computes on a single thread, and jobs share a pass only where
sharing changes no bit of their results. So a job's results do not depend on the lanes.
"""

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from tuningfork.modeling.decoder.pieces import PIECE_PRODUCTS, run_to_end
from tuningfork.modeling.device.available_memory import available_memory
from tuningfork.modeling.device.capture import Capture
from tuningfork.modeling.device.threads import is_small, one_thread
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.memory_plan import pass_bytes
from tuningfork.training.attention.packed_attention import is_fused
from tuningfork.training.batches import OwnedSegment, Pack, pack, tokens_saved_by_sharing
from tuningfork.training.graphs import PassGraphs
from tuningfork.training.jobs import AdmittedJob, Batch, EvaluationPasses, longest_of, tokens_and_targets
from tuningfork.training.loss import TargetScores
from tuningfork.training.objectives import LossWeights, PassShare, loss_weights, predictions_of
from tuningfork.training.passes import forward_backward, forward_in_parts, in_parts
from tuningfork.training.suspended import PassMemory, SuspendedPass
from tuningfork.training.undivided import warn_if_long

_TOKENS_PER_TURN = 1024
"""How many tokens count as one turn, rounded down: a pass of 2,047 tokens or fewer is one turn, one of 2,048 two."""

_PART_SECONDS = 0.5
"""For how long a pass that takes all cores runs before other jobs have a turn, apart from the piece that it is in."""


@dataclass(slots=True, kw_only=True)
class _Prepared:
    """What a training pass is computed from, and what its losses are made into."""

    group: Sequence[OwnedSegment]
    packed: Pack
    slots: Sequence[int]
    shares: Sequence[PassShare]
    keep: bool
    held_bytes: int


@dataclass(frozen=True, slots=True)
class _Losses:
    """What a training pass has found. `reference_N` are losses under the reference models; None: no job has one."""

    own: TargetScores
    reference_N: Tensor | None


class PassRunner:
    """Runs the passes of one engine. Not thread-safe.

    Args:
        base: the base whose slots hold the adapters.
        jobs_per_pass: the most jobs that share a pass.
        capture: see `PassGraphs.of`.
        compute: computes a pass without a graph; see `passes.forward_backward`.

    Attributes:
        long_tokens: a pass of more tokens runs in parts, between which other jobs have their turns; None: a pass that
            is too large for one core.
        part_seconds: how long such a part takes, apart from the piece that it ends with.
        piece: about how many multiplications of a long segment's attention are one piece.
        pass_bytes: how much memory is planned for suspended passes; see `suspended.fit_together`.
        short_bytes: how much they may hold at least beside the largest.

    """

    def __init__(
        self,
        base: LoadedBase,
        *,
        jobs_per_pass: int,
        capture: Capture | None,
        compute: Callable[..., TargetScores] = forward_backward,
    ) -> None:
        self._base = base
        self._compute = compute
        # `is_fused` tests the kernels, which takes a while, so it is called once.
        self._fused = base.gpu_shortcuts and base.decoder is not None and is_fused(base.decoder)
        self.graphs = PassGraphs.of(base, capture, fused=self._fused)
        self._memory = PassMemory.of(base)
        self.pass_bytes = pass_bytes(available_memory(base.device))
        self.short_bytes = self._memory.of_short_pass()
        self._weights = int(base.model.num_parameters())
        self._jobs_per_pass = jobs_per_pass
        # MKL's fp32 products have other bits on several threads, so there jobs share passes on one thread.
        self._any_threads = base.device.type != "cpu" or base.dtype == torch.bfloat16
        self.long_tokens: int | None = None
        self.part_seconds = _PART_SECONDS
        self.piece = PIECE_PRODUCTS
        self._suspended: WeakSet[SuspendedPass] = WeakSet()
        computes_here = base.decoder is not None and base.device.type == "cpu" and self.graphs is None
        self._lanes = torch.get_num_threads() if computes_here else 1
        # The executor starts threads when they are needed. Each computes on one core.
        self._threads = ThreadPoolExecutor(
            max(1, self._lanes - 1), thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(1,)
        )

    @property
    def lanes(self) -> int:
        """How many passes can run in parallel."""
        return self._lanes

    @property
    def most_jobs(self) -> int:
        """How many jobs can advance at a time: in one shared pass, or else with a pass in each lane."""
        return self._jobs_per_pass if self._jobs_per_pass > 1 else self._lanes

    def can_advance_beside_others(self, job: AdmittedJob) -> bool:
        """Whether the job may advance at the same time as others: in a shared pass, or in a lane."""
        return (self._jobs_per_pass > 1 and self._any_threads) or self._is_small(_tokens([job]))

    def least_held_bytes(self, job: AdmittedJob, most_tokens: int) -> int:
        """What the job's next pass holds at least while it is suspended; 0: it is not run in parts, or not rendered.

        A pass of several segments has at most `most_tokens` tokens.
        """
        tokens, targets = job.size_next
        tokens = min(tokens, max(job.longest_next, most_tokens))
        if not tokens or not self._has_parts(tokens):
            return 0
        if job.evaluating is not None:
            return self._memory.of_forward(tokens, targets, job.longest_next)
        return self._memory.of_training(tokens, min(targets, tokens), job.longest_next, keep=False)

    def split_for_lanes(self, jobs: Sequence[AdmittedJob]) -> list[Sequence[AdmittedJob]]:
        """Split jobs that advance together into groups of about equally many tokens; a core runs each group's pass."""
        if self._jobs_per_pass == 1:
            return [[job] for job in jobs]
        if (parts := min(self._lanes, len(jobs))) < 2:
            return [jobs]
        largest = sorted(jobs, key=lambda job: tokens_and_targets(job.next_batch()), reverse=True)
        in_parts: list[Sequence[AdmittedJob]] = [largest[part::parts] for part in range(parts)]
        # With fewer parts than cores, one large pass on all cores is faster.
        apart = not self._any_threads or parts == self._lanes
        return in_parts if apart or self._is_small(max(map(_tokens, in_parts))) else [jobs]

    def advance(self, batches: Sequence[Batch]) -> None:
        """Run the next pass of each batch, and count its tokens as turns of its jobs (`AdmittedJob.turns`).

        Of a single long pass only a part is run: the batch is `suspended` until its last part.
        """
        parallel, first = len(batches), batches[0]
        # Of several jobs only the first would be held back, and the others would begin the step again.
        if parallel == 1 and len(first.jobs) == 1 and (first.suspended or self._has_parts(_tokens_of(first.passes[0]))):
            self._advance_part(first)
            return
        alone = parallel == 1 and (self._any_threads or len(first.jobs) == 1)
        passes = [partial(self._advance, batch, lane, parallel=parallel) for lane, batch in enumerate(batches)]
        self._in_lanes(passes, small=not alone or self._is_small(_tokens_of(first.passes[0])))

    def evaluate(self, jobs: Sequence[AdmittedJob]) -> None:
        """Run the next evaluation pass of each job, and count its tokens as turns of the job (`AdmittedJob.turns`).

        Of a single long pass only a part is run, as in `advance`.
        """
        passes = jobs[0].evaluating
        assert passes is not None  # noqa: S101 - asked by the engine
        if len(jobs) == 1 and passes.group and (passes.suspended or self._has_parts(_tokens_of(passes.group))):
            self._evaluate_part(jobs[0], passes)
            return
        small = self.is_evaluation_small(jobs[0])
        self._in_lanes([partial(self._evaluate, job, lane) for lane, job in enumerate(jobs)], small=small)

    def _in_lanes(self, passes: Sequence[Callable[[], None]], *, small: bool) -> None:
        """Run these passes, each in its own lane; a single pass that is not small runs on all cores."""
        with one_thread(only=small):
            others = [self._threads.submit(each) for each in passes[1:]]
            try:
                passes[0]()
            finally:
                # Wait for all lanes even if one has failed, since the others still write gradients.
                errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error

    def is_evaluation_small(self, job: AdmittedJob) -> bool:
        """Whether the job's next evaluation pass is small enough for a lane."""
        group = job.evaluating.group if job.evaluating is not None else None
        return group is not None and self._is_small(_tokens_of(group))

    def _evaluate(self, job: AdmittedJob, lane: int) -> None:
        passes = job.evaluating
        assert passes is not None  # noqa: S101 - asked by the engine
        assert passes.group is not None  # noqa: S101 - likewise
        self._conclude_evaluation(job, passes, run_to_end(self._scoring(job, passes.group, lane)))

    def _evaluate_part(self, job: AdmittedJob, passes: EvaluationPasses) -> None:
        """Run the next part of the job's evaluation pass, which counts as `_advance_part` counts."""
        if passes.suspended is None:
            assert passes.group is not None  # noqa: S101 - asked by `evaluate`
            passes.suspended = self._suspend(
                self._scoring(job, passes.group, self._own_lane(job)),
                partial(self._conclude_evaluation, job, passes),
                passes.group,
                self._memory.of_forward(*_size_of(passes.group), longest_of(passes.group)),
            )
        if self._run_part(passes.suspended, [job]):
            passes.suspended = None

    def _scoring(
        self, job: AdmittedJob, group: Sequence[OwnedSegment], lane: int
    ) -> Generator[None, None, tuple[TargetScores, Tensor | None]]:
        """An evaluation pass: its targets' scores, and their losses under the job's reference model if it has one."""
        scores = yield from forward_in_parts(
            self._base, self._packed(group), [job.slot], fused=self._fused, lane=lane, piece=self.piece
        )
        return scores, (yield from self._reference_losses([job], group, lane))

    def _conclude_evaluation(
        self,
        job: AdmittedJob,
        passes: EvaluationPasses,
        found: tuple[TargetScores, Tensor | None],
        counted: int = 0,
    ) -> None:
        """Add what a pass has found to the evaluation, and its turns to the job, except those already `counted`."""
        group, passes.group = passes.group, None
        assert group is not None  # noqa: S101 - it stays until its pass is concluded
        scores, reference_N = found
        counts = [each.segment.targets for each in group]
        passes.totals.append(job.objective.total(scores.losses_N, reference_N, counts))
        passes.terms += job.objective.terms(counts)
        passes.predictions += predictions_of(job.objective, scores.right_N, counts)
        job.turns += max(1, _tokens_of(group) // _TOKENS_PER_TURN - counted)

    def _advance(self, batch: Batch, lane: int = 0, *, parallel: int = 1) -> None:
        """Run the next pass of a batch in this lane; `parallel` batches run at the same time."""
        prepared = self._prepare(batch, parallel=parallel)
        reference_N = run_to_end(self._reference_losses(batch.jobs, prepared.group, lane))
        weights = loss_weights(prepared.shares, reference_N)
        scores = self._scores(prepared.packed, prepared.slots, weights, lane, keep=prepared.keep)
        self._conclude(batch, prepared, _Losses(scores, reference_N))

    def _has_parts(self, tokens: int) -> bool:
        """Whether a pass of one job with so many tokens is run in parts."""
        if self._lanes < 1 or self.graphs is not None or self._base.decoder is None or self._base.device.type != "cpu":
            return False
        return not self._is_small(tokens) if self.long_tokens is None else tokens > self.long_tokens

    def _advance_part(self, batch: Batch) -> None:
        """Run the next part of the batch's pass, which counts as a turn; the last part counts as the rest."""
        if batch.suspended is None:
            prepared = self._prepare(batch)
            batch.suspended = self._suspend(
                self._training(batch.jobs, prepared, self._own_lane(batch.jobs[0])),
                partial(self._conclude, batch, prepared),
                prepared.group,
                prepared.held_bytes,
            )
        if self._run_part(batch.suspended, batch.jobs):
            batch.suspended = None

    def _training(self, jobs: Sequence[AdmittedJob], prepared: _Prepared, lane: int) -> Generator[None, None, _Losses]:
        """A training pass, which leaves the gradients in the jobs' slots, after the pass of their reference models."""
        reference_N = yield from self._reference_losses(jobs, prepared.group, lane)
        scores = yield from in_parts(
            self._base,
            prepared.packed,
            prepared.slots,
            loss_weights(prepared.shares, reference_N),
            keep=prepared.keep,
            lane=lane,
            fused=self._fused,
            piece=self.piece,
        )
        return _Losses(scores, reference_N)

    def _own_lane(self, job: AdmittedJob) -> int:
        """A lane of the job's own, since other passes run while one of its passes is suspended."""
        return self._lanes + job.slot

    def _suspend(
        self,
        parts: Generator[None, None, Any],
        conclude: Callable[[Any, int], None],
        group: Sequence[OwnedSegment],
        held_bytes: int,
    ) -> SuspendedPass:
        suspended = SuspendedPass(parts=parts, conclude=conclude, longest=longest_of(group), held_bytes=held_bytes)
        self._suspended.add(suspended)
        return suspended

    def _run_part(self, suspended: SuspendedPass, jobs: Sequence[AdmittedJob]) -> bool:
        """Run the next part of a pass of these jobs; whether it was the last. If not, it counts as a turn."""
        deadline = time.monotonic() + self.part_seconds
        while not suspended.advance():
            if time.monotonic() >= deadline:
                suspended.turns += 1
                for job in jobs:
                    job.turns += 1
                return False
        return True

    def _prepare(self, batch: Batch, *, parallel: int = 1) -> _Prepared:
        group = batch.passes.popleft()
        packed = self._packed(group)
        warn_if_long(self._base, batch.jobs[0], len(packed.ids_T))
        slots = [job.slot for job in batch.jobs]
        shares = [
            PassShare(
                objective=job.objective,
                counts=[each.segment.targets for each in group if each.owner == owner],
                terms=terms,
            )
            for owner, (job, terms) in enumerate(zip(batch.jobs, batch.terms, strict=True))
        ]
        free_bytes = self.pass_bytes - sum(each.held_bytes for each in self._suspended)
        size = len(packed.ids_T), len(packed.targets_N), longest_of(group)
        keep, held_bytes = self._memory.within(free_bytes // parallel, *size)
        return _Prepared(group=group, packed=packed, slots=slots, shares=shares, keep=keep, held_bytes=held_bytes)

    def _conclude(self, batch: Batch, prepared: _Prepared, found: _Losses, counted: int = 0) -> None:
        """Add what the pass has computed to the batch, and its turns to the jobs, except those already `counted`."""
        begin = 0
        for owner, share in enumerate(prepared.shares):
            own = slice(begin, begin := begin + sum(share.counts))
            own_reference_N = None if found.reference_N is None else found.reference_N[own]
            total = share.objective.total(found.own.losses_N[own], own_reference_N, share.counts)
            batch.losses[owner] += total / share.terms
            batch.predictions[owner] += predictions_of(share.objective, found.own.right_N[own], share.counts)
        batch.add([job.adapter.gradients_P for job in batch.jobs])
        for job in batch.jobs:
            job.turns += max(1, _tokens_of(prepared.group) // len(prepared.slots) // _TOKENS_PER_TURN - counted)

    def _reference_losses(
        self, jobs: Sequence[AdmittedJob], group: Sequence[OwnedSegment], lane: int
    ) -> Generator[None, None, Tensor | None]:
        """The targets' losses under the jobs' reference models, 0 for jobs without one; None: no job has one.

        A job's reference model is its initial adapter: the source's, or a new one, which does not change the base's
        output. Its pass has the same shape as the job's, so that the losses of both are identical before the first
        step.
        """
        new_owners = {
            owner: index for index, owner in enumerate(o for o, job in enumerate(jobs) if job.reference is not None)
        }
        if not new_owners:
            return None
        own = [replace(each, owner=new_owners[each.owner]) for each in group if each.owner in new_owners]
        slots = [job.reference for job in jobs if job.reference is not None]
        found = yield from forward_in_parts(
            self._base, self._packed(own), slots, lane=lane, fused=self._fused, piece=self.piece
        )
        if len(own) == len(group):
            return found.losses_N
        counts = torch.tensor([each.segment.targets for each in group])
        needed_N = torch.repeat_interleave(torch.tensor([each.owner in new_owners for each in group]), counts)
        return torch.zeros(len(needed_N)).masked_scatter_(needed_N, found.losses_N)

    def _packed(self, group: Sequence[OwnedSegment]) -> Pack:
        """Pack the group. Segments share prefixes if the base has a decoder.

        Graphs need whole segments, so where there are graphs, prefixes are shared only if that saves half the tokens.
        """
        share = self._base.decoder is not None
        if share and self.graphs is not None:
            share = 2 * tokens_saved_by_sharing(group) >= sum(each.segment.tokens for each in group)
        return pack(group, share=share)

    def _scores(
        self, packed: Pack, slots: Sequence[int], weights: LossWeights, lane: int, *, keep: bool
    ) -> TargetScores:
        def ordinary() -> TargetScores:
            return self._compute(
                self._base, packed, slots, weights, keep=keep, lane=lane, fused=self._fused, piece=self.piece
            )

        graphs = self.graphs if keep else None
        return ordinary() if graphs is None else graphs.scores(packed, slots, weights, ordinary)

    def _is_small(self, tokens: int) -> bool:
        # For each token and weight two operations in the forward pass and two in the backward pass.
        return is_small(4 * tokens * self._weights)


def _tokens_of(group: Sequence[OwnedSegment]) -> int:
    return sum(each.segment.tokens for each in group)


def _size_of(group: Sequence[OwnedSegment]) -> tuple[int, int]:
    return tokens_and_targets([each.segment for each in group])


def _tokens(jobs: Sequence[AdmittedJob]) -> int:
    return sum(tokens_and_targets(job.next_batch())[0] for job in jobs)
