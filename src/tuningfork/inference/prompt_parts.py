"""Reads expensive chunks of prompts apart from steps, in passes of their own that can be suspended after each layer.

Between two parts of such a pass the engine makes steps and takes new requests, so nobody waits for the end of a chunk,
which may take half a second. Owners take turns by the time that they have used. The cuts of a prompt stay as they are,
and so does every number.

Shape suffixes: as in `engine`.
"""

import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.kv_cache import KvCache
from tuningfork.inference.prefill import DECODE_SHARE, ScheduledTokens
from tuningfork.inference.scheduler import Scheduler
from tuningfork.inference.sequence import Sequence
from tuningfork.modeling.decoder.decoder import Decoder, Serving
from tuningfork.modeling.device.threads import is_small, one_thread
from tuningfork.modeling.loading import LoadedBase

PART_SECONDS = 0.025
"""For how long a part is computed while several owners run, apart from the layer that it ends with."""

ALONE_SECONDS = 0.1
"""The same while all running sequences are of one owner."""

OTHERS_SHARE = 3.0
"""While several owners run, steps get this many times the time of the parts before the next part."""


class PartTurns:
    """Whose long prompt is read next, and when: owners take turns by time, and steps get a share of the time.

    All times are in seconds. An owner that comes anew begins with the least time of the others, and before them.
    """

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        # The time that steps get before the owner's next part.
        self._owed: dict[str, float] = {}

    def next(self, owners: Collection[str], *, busy: bool) -> str | None:
        """The owner whose prompt is read now; None: steps come first. `busy`: whether steps have something to do."""
        least = min((used for owner, used in self._used.items() if owner in owners), default=0.0)
        new = [owner for owner in owners if owner not in self._used]
        # New owners first, and of the others the one whose last part was longest ago comes first of equals.
        self._used = dict.fromkeys(new, least) | {owner: used for owner, used in self._used.items() if owner in owners}
        able = [owner for owner in self._used if not (busy and self._owed.get(owner, 0.0) > 0)]
        return min(able, key=lambda owner: self._used[owner], default=None)

    def spent(self, owner: str, seconds: float, *, alone: bool) -> None:
        """Count a part of this owner's. `alone`: no other owner's sequences run."""
        self._used[owner] = self._used.pop(owner, 0.0) + seconds
        share = DECODE_SHARE if alone else OTHERS_SHARE * len(self._used)
        self._owed[owner] = share * seconds

    def passed(self, seconds: float) -> None:
        """Count a step."""
        self._owed = {owner: owed - seconds for owner, owed in self._owed.items() if owed > seconds}


@dataclass(slots=True)
class _Pass:
    """A pass under way."""

    parts: Generator[None, None, Tensor]
    operations: int

    def advance(self) -> Tensor | None:
        """Compute a further layer; the logits after the last one."""
        try:
            next(self.parts)
        except StopIteration as ended:
            logits_BV: Tensor = ended.value
            return logits_BV
        return None


class PromptParts:
    """The passes of one engine that are under way, at most one for each owner. Not thread-safe.

    Args:
        base: the engine's base.
        decoder: its decoder.
        cache: the engine's cache.
        scheduler: chooses the chunks.
        clock: a monotonic clock, in seconds.

    """

    def __init__(
        self,
        base: LoadedBase,
        decoder: Decoder,
        cache: KvCache,
        scheduler: Scheduler,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._decoder = decoder
        self._cache = cache
        self._scheduler = scheduler
        self._clock = clock
        self._weights = int(base.model.num_parameters())
        self._turns = PartTurns()
        self._passes: dict[Sequence, _Pass] = {}

    def passed(self, seconds: float) -> None:
        """Count a step."""
        self._turns.passed(seconds)

    def drop_ended(self) -> None:
        """Drop the passes of chunks that were given up, and their activations: they must write to no page any more."""
        self._passes = {sequence: each for sequence, each in self._passes.items() if sequence.reading}

    @torch.inference_mode()
    def read_on(self, *, busy: bool) -> tuple[ScheduledTokens, Tensor] | None:
        """Compute a part of a chunk, if it is due; the chunk and its logits `BV` if that was the chunk's last part.

        `busy`: whether the step before had something to do.
        """
        chunks = self._scheduler.apart()
        # Some may have been put back into the queue by `schedule`.
        self.drop_ended()
        owner = self._turns.next(chunks, busy=busy)
        if owner is None:
            return None
        chunk, alone = chunks[owner], len(self._scheduler.owners) == 1
        pass_ = self._pass_of(chunk)
        began = self._clock()
        until = began + (ALONE_SECONDS if alone else PART_SECONDS)
        try:
            with one_thread(only=self._is_small(pass_)):
                while (logits_BV := pass_.advance()) is None and self._clock() < until:
                    pass
        except BaseException:
            # A pass that has failed cannot be continued; the chunk is begun anew.
            self._end(chunk)
            raise
        self._turns.spent(owner, self._clock() - began, alone=alone)
        if logits_BV is None:
            return None
        self._end(chunk)
        return chunk, logits_BV

    def _end(self, chunk: ScheduledTokens) -> None:
        del self._passes[chunk.sequence]
        chunk.sequence.reading = 0

    def _is_small(self, pass_: _Pass) -> bool:
        return is_small(pass_.operations, weight_bytes=self._weights * self._base.dtype.itemsize)

    def _pass_of(self, chunk: ScheduledTokens) -> _Pass:
        """The chunk's pass, which is begun if it is not under way."""
        sequence = chunk.sequence
        if (found := self._passes.get(sequence)) is not None:
            return found
        if not sequence.reading:
            self._scheduler.begin(chunk)
        begin, end = sequence.cached, sequence.cached + chunk.tokens
        kept_B = torch.tensor([chunk.tokens - 1] if chunk.completes else [], dtype=torch.long)
        plan = CachedPlan(self._cache, [Span(sequence.pages, begin, end)], self._base.kernels.attention)
        slots = [sequence.request.slot] * chunk.tokens
        # Between the parts of this pass, other requests' adapters come and go.
        pass_ = self._decoder.pass_over(torch.arange(begin, end), kept_B, Serving(plan), slots, lasting=True)
        parts = self._decoder.in_parts(torch.tensor(sequence.tokens[begin:end]), pass_)
        made = self._passes[sequence] = _Pass(parts, 2 * chunk.tokens * self._weights)
        return made
