"""Decoding on a CPU by the compiled step: a step's rows with one new token go through it, prompts through the decoder.

Which way a row goes depends on the row alone, so its answer does not depend on the other rows. Before an engine uses
the compiled step, the step computes three rows over the engine's own base, and the decoder computes them too. If their
logits differ by more than rounding, or a row alone gets other logits than among the three, the engine uses the decoder
for everything, and logs a warning. If the compiled products are wrong here (`modeling/compiled/proof.py`), it does too.

Shape suffixes: B rows whose logits are asked for, V vocabulary, G key/value heads, X places of the cache, K head size.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, pages_for, probed_shapes
from tuningfork.inference.prefill import ScheduledTokens
from tuningfork.modeling.adapters.slots import BASE_ALONE, AdapterSlots
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.compiled.library import Level, Library
from tuningfork.modeling.compiled.proof import proven
from tuningfork.modeling.compiled.step import DecodingStep, Pages, TokenRow, unsupported
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.device.graph_cache import difference, rounding_of
from tuningfork.modeling.loading import LoadedBase

logger = logging.getLogger(__name__)

_TRIED_ENDS = (1, 40, 200)
"""The lengths of the trial's rows: a first token, a second page, and a second chunk of attention."""


@dataclass(frozen=True, slots=True)
class CompiledRows:
    """The compiled decoding step over one engine's base and cache."""

    step: DecodingStep

    @classmethod
    def of(cls, base: LoadedBase, cache: KvCache, *, compiled: Library | None = None) -> Self | None:
        """The compiled step of an engine; None: there is no library, it cannot compute this base, or a kernel attends.

        `compiled`: the library to use; None: the one of this installation, if its products are right here.
        """
        compiled = compiled or proven()
        if compiled is None or base.decoder is None or base.kernels.attention or not _is_faster(base, compiled):
            return None
        pages = pages_of(base.decoder, cache)
        if lacks := unsupported(base.decoder, pages):
            logger.info(
                "answers of %s are decoded without the compiled step, which cannot take %s", base.location, lacks
            )
            return None
        if fault := _fault(base, base.decoder, compiled):
            logger.warning("answers of %s go on without the compiled step, more slowly: %s", base.location, fault)
            return None
        return cls(DecodingStep(compiled, base.decoder, pages))

    def logits(
        self, scheduled: Sequence[ScheduledTokens], others: Callable[[Sequence[ScheduledTokens]], Tensor]
    ) -> Tensor:
        """Logits `BV` in fp32 of those of the scheduled sequences that have no more tokens to feed, in their order.

        `others` computes them for sequences with several tokens, or whose adapter is in training.
        """
        mine = [self._takes(item) for item in scheduled]
        rows = [item for item, own in zip(scheduled, mine, strict=True) if own]
        rest = [item for item, own in zip(scheduled, mine, strict=True) if not own]
        if not rows:
            return others(scheduled)
        own_BV = self.step.logits([_row_of(item) for item in rows])
        own_BV = own_BV if all(item.completes for item in rows) else own_BV[[item.completes for item in rows]]
        if not rest:
            return own_BV
        # The scheduled sequences that complete, in order, and which of the two tensors has the logits of each.
        order = [own for item, own in zip(scheduled, mine, strict=True) if item.completes]
        from_step, from_rest = iter(own_BV), iter(others(rest))
        return torch.stack([next(from_step if own else from_rest) for own in order]) if order else own_BV

    def _takes(self, item: ScheduledTokens) -> bool:
        return item.tokens == 1 and self.step.takes([item.sequence.request.slot])


def _is_faster(base: LoadedBase, compiled: Library) -> bool:
    """Whether the compiled step is faster than the decoder on this kind of processor (docs/log.md).

    The code for any processor is several times slower. In bfloat16 it takes AVX-512 BF16, also where there is AMX for
    oneDNN's products; nobody has measured it on Arm.
    """
    if base.dtype == torch.bfloat16:
        return compiled.level == Level.AVX512_BF16
    return compiled.level >= Level.AVX2


def _fault(base: LoadedBase, decoder: Decoder, compiled: Library) -> str | None:
    """What is wrong with a trial of the compiled step; None: nothing."""
    try:
        off = trial(base, decoder if base.dtype == torch.float32 else _shortened(decoder), compiled)
    except Exception as error:  # noqa: BLE001 - whatever it is, the decoder works without the step
        return f"{type(error).__name__}: {error}"
    if off is None:
        return "the base's own logits are no finite numbers"
    # The condition is negated so that NaN counts as a fault.
    return None if off <= rounding_of(base.dtype) else f"the logits of a trial are off by {off:.2g} of their spread"


def _shortened(decoder: Decoder) -> Decoder:
    """The decoder with the first layer of each kind only.

    In a rounded type the logits of all layers tell little: over random keys and values, those of the decoder are off by
    up to half of their spread from those in fp32 (docs/log.md).
    """
    kinds = {(layer.rotation, layer.attention_parameters): layer for layer in reversed(decoder.layers)}
    return replace(decoder, layers=sorted(kinds.values(), key=lambda layer: layer.index))


def pages_of(decoder: Decoder, cache: KvCache) -> Pages:
    """A cache as the compiled step reads and writes it."""
    stores = [cache.store(layer.index) for layer in decoder.layers]
    return Pages([(store.keys_GXK, store.values_GXK) for store in stores], PAGE_TOKENS)


@torch.no_grad()
def trial(base: LoadedBase, decoder: Decoder, compiled: Library, level: Level | None = None) -> float | None:
    """How far off the logits of a compiled step over this base are, beside those of the decoder.

    Rows are of the lengths `_TRIED_ENDS`, as far as the base's context allows, with random keys and values before the
    new tokens. Two of them have an adapter.

    Returns:
        The largest RMS difference of any row, divided by the standard deviation of the row's right logits. NaN if the
        compiled logits are not finite though the right ones are. None if no right ones are finite.

    Raises:
        RuntimeError: the logits are right, but a row alone gets other ones than among the others.

    """
    ends = [min(end, base.context_tokens) for end in _TRIED_ENDS]
    draw = torch.Generator().manual_seed(0)
    cache = KvCache(probed_shapes(base.model), pages=sum(map(pages_for, ends)), dtype=base.dtype, device=base.device)
    for keys_GXK, values_GXK in pages_of(decoder, cache).layers:
        for each in (keys_GXK, values_GXK):
            each.copy_(torch.randn(each.shape, generator=draw))
    rows_pages: list[list[int]] = [[] for _ in ends]
    for pages, end in zip(rows_pages, ends, strict=True):
        cache.extend(pages, end)
    words = int(base.model.config.get_text_config().vocab_size)
    ids = torch.randint(0, words, (len(ends),), generator=draw).tolist()
    with _adapter(base.slots, draw) as slot:
        slots = [slot, BASE_ALONE, slot]
        rows = [TokenRow(*own) for own in zip(ids, rows_pages, ends, slots, strict=True)]
        step = DecodingStep(compiled, decoder, pages_of(decoder, cache), level)
        found_BV = step.logits(rows)
        # A step writes the same key and value of its token again.
        alone_BV = torch.cat([step.logits([row]) for row in rows])
        spans = [Span(pages, end - 1, end) for pages, end in zip(rows_pages, ends, strict=True)]
        positions_B = torch.tensor(ends) - 1
        plan = CachedPlan(cache, spans)
        right_BV = decoder.logits(torch.tensor(ids), positions_B, torch.arange(len(ids)), plan, slots)
    off = difference(found_BV, right_BV)
    if off is not None and off <= rounding_of(base.dtype) and not torch.equal(alone_BV, found_BV):
        raise RuntimeError("a row's logits depend on the other rows")
    return off


@contextmanager
def _adapter(slots: AdapterSlots, draw: torch.Generator) -> Iterator[int]:
    """A slot with a random adapter, within the `with` block."""
    weights = slots.fresh(AdapterShape(rank=2, alpha=2.0), seed=0)
    tensors = {
        name: tensor if ".lora_A." in name else 0.05 * torch.randn(tensor.shape, generator=draw)
        for name, tensor in weights.tensors.items()
    }
    slot = slots.load(AdapterWeights(weights.shape, tensors))
    try:
        yield slot
    finally:
        slots.unload(slot)


def _row_of(item: ScheduledTokens) -> TokenRow:
    sequence = item.sequence
    end = sequence.cached + 1
    return TokenRow(sequence.tokens[end - 1], sequence.pages, end, sequence.request.slot)
