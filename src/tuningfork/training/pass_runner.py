"""Carries out the passes of batches: from a graph where there are graphs, several at a time where jobs are small.

A small pass is too short to be cut up among threads: they would wait for each other at each of its thousand operations.
Small jobs are dealt out to lanes instead, one core each. A lane computes as the only thread there is would, and where
jobs may share passes at all, no number depends on who shares one; so no job's numbers depend on the lanes.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from tuningfork.modeling.available_memory import available_memory
from tuningfork.modeling.capture import Capture
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.memory_plan import kept_bytes_per_token, pass_bytes
from tuningfork.modeling.threads import is_small, one_thread
from tuningfork.training.batches import Pack, Placed, pack, saved_by_sharing
from tuningfork.training.graphs import PassGraphs
from tuningfork.training.passes import forward_backward
from tuningfork.training.runs import Batch, Run, tokens_and_targets

_TOKENS_PER_TURN = 1024
"""What a turn costs: passes of up to twice as many tokens count as one, larger ones as so many more."""


class PassRunner:
    """One engine's. Not thread-safe itself.

    Args:
        base: its slots hold the adapters.
        jobs_per_pass: how many jobs may share one.
        capture: see `PassGraphs.of`.

    """

    def __init__(self, base: LoadedBase, *, jobs_per_pass: int, capture: Capture | None) -> None:
        self._base = base
        self.graphs = PassGraphs.of(base, capture)
        self._kept_bytes_per_token = kept_bytes_per_token(base.slots.layers.values(), base.dtype.itemsize)
        self._pass_bytes = pass_bytes(available_memory(base.device))
        self._weights = int(base.model.num_parameters())
        self._jobs_per_pass = jobs_per_pass
        computes_here = base.decoder is not None and base.device.type == "cpu" and self.graphs is None
        self._lanes = torch.get_num_threads() if computes_here else 1
        # Threads come into being when they are first wanted. Each computes alone.
        self._threads = ThreadPoolExecutor(
            max(1, self._lanes - 1), thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(1,)
        )

    @property
    def most_jobs(self) -> int:
        """How many jobs can move at a time: in one pass or, if none is shared, in one of each lane."""
        return self._jobs_per_pass if self._jobs_per_pass > 1 else self._lanes

    def beside(self, run: Run, other: Run) -> bool:
        """Whether the other job may move together with this one, as far as this room is concerned."""
        return self._jobs_per_pass > 1 or all(self._is_small(_tokens([each])) for each in (run, other))

    def dealt_out(self, runs: Sequence[Run]) -> list[Sequence[Run]]:
        """Jobs that move together, in as many parts as are to be computed at a time, alike in size."""
        if self._jobs_per_pass == 1:
            return [[run] for run in runs]
        parts = min(self._lanes, len(runs))
        if parts < 2:
            return [runs]
        largest = sorted(runs, key=lambda run: tokens_and_targets(run.next_batch()), reverse=True)
        dealt: list[Sequence[Run]] = [largest[place::parts] for place in range(parts)]
        # With fewer parts than cores a large pass is better computed by all of them.
        return dealt if parts == self._lanes or self._is_small(max(map(_tokens, dealt))) else [runs]

    def advance(self, batches: Sequence[Batch]) -> None:
        """Each batch's next pass, which costs its jobs a turn or, if it is large, several."""
        if len(batches) == 1:
            group = batches[0].passes[0]
            with one_thread(only=self._is_small(sum(each.segment.tokens for each in group))):
                self._advance(batches[0])
            return
        with one_thread(only=True):
            others = [
                self._threads.submit(self._advance, batch, lane, of=len(batches))
                for lane, batch in enumerate(batches[1:], start=1)
            ]
            try:
                self._advance(batches[0], of=len(batches))
            finally:
                # Nobody goes on while another lane still writes.
                errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error

    def _advance(self, batch: Batch, lane: int = 0, *, of: int = 1) -> None:
        """The next pass of one of so many batches that are computed at the time."""
        group = batch.passes.popleft()
        packed = self._packed(group)
        slots = [run.slot for run in batch.runs]
        counts = torch.tensor(batch.targets, dtype=torch.float32)
        # An adapter's gradient sees its own job's mean loss only, though their sum is what is differentiated.
        keep = len(packed.ids_T) * self._kept_bytes_per_token <= self._pass_bytes // of
        losses_N = self._losses(packed, slots, (1 / counts)[packed.owners_N], lane, keep=keep)
        shares = torch.split(losses_N, torch.bincount(packed.owners_N, minlength=len(slots)).tolist())
        for owner, (share, count) in enumerate(zip(shares, batch.targets, strict=True)):
            # Summed exactly, so that nothing depends on how torch would cut the sum up.
            batch.losses[owner] += math.fsum(share.tolist()) / count
        batch.add([run.adapter.gradients_P for run in batch.runs])
        for run in batch.runs:
            run.turns += max(1, sum(each.segment.tokens for each in group) // len(slots) // _TOKENS_PER_TURN)

    def _packed(self, group: Sequence[Placed]) -> Pack:
        """The group's pass. What segments begin with is shared; graphs take whole ones, if that is not half of it."""
        share = self._base.decoder is not None
        if share and self.graphs is not None:
            share = 2 * saved_by_sharing(group) >= sum(placed.segment.tokens for placed in group)
        return pack(group, share=share)

    def _losses(self, packed: Pack, slots: Sequence[int], weights_N: Tensor, lane: int, *, keep: bool) -> Tensor:
        def ordinary() -> Tensor:
            return forward_backward(self._base, packed, slots, weights_N, keep=keep, lane=lane)

        graphs = self.graphs if keep else None
        return ordinary() if graphs is None else graphs.losses(packed, slots, weights_N, ordinary)

    def _is_small(self, tokens: int) -> bool:
        # Two operations a weight on the way forward, and two on the way back.
        return is_small(4 * tokens * self._weights)


def _tokens(runs: Sequence[Run]) -> int:
    return sum(tokens_and_targets(run.next_batch())[0] for run in runs)
