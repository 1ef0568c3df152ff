"""Continuous batching over one resident base: requests join and leave between steps, each on its own adapter.

A step is one forward pass over one packed row of tokens: the newest token of every sequence that is decoding, and a
share of the prompts that are still being prefilled. Each token has its own adapter, so a batch may mix any adapters.
Expensive chunks of prompts are read in passes of their own, parts of which are computed between two such passes.

Shape suffixes: T packed tokens, B rows (sequences that choose a token), V vocabulary.
"""

import time
from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.domain.errors import FieldViolation, InternalError, InvalidArgument, TuningforkError
from tuningfork.domain.generation import MAX_CANDIDATES, ChosenToken, FinishReason, TokenLogprob
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.compiled_rows import CompiledRows
from tuningfork.inference.constraints import Grammars
from tuningfork.inference.detokenizer import Detokenizer, TokenTexts
from tuningfork.inference.graphs import DecodeGraphs
from tuningfork.inference.kv_cache import KvCache, planned_pages, probed_shapes
from tuningfork.inference.penalties import Penalties
from tuningfork.inference.prefill import ScheduledTokens
from tuningfork.inference.prompt_parts import PromptParts
from tuningfork.inference.sampling import Choice, Draw, row_randomness, sample
from tuningfork.inference.scheduler import Scheduler
from tuningfork.inference.sequence import EngineOutput, Sequence, TokenRequest, Usage
from tuningfork.inference.stop_sequences import StopSequences
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.device.available_memory import available_memory
from tuningfork.modeling.device.capture import Capture
from tuningfork.modeling.device.threads import is_small, one_thread
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.memory_plan import cache_bytes as planned_cache_bytes

__all__ = ["EngineOutput", "InferenceEngine", "TokenRequest"]

_USUAL_CACHE_BYTES = 2 * 1024**3
"""The cache's size if the system does not report how much memory there is."""
_CPU_KEPT_BYTES = 512 * 1024**2
"""On a CPU, the most memory for pages that the prefix cache keeps though no running sequence holds them. On a GPU the
whole cache is allocated anyway, so there is no such limit."""

_CPU_PREFILL_TOKENS = 512
_GPU_PREFILL_TOKENS = 4096
"""The most prompt tokens that a step reads: matrix products reach full speed at about 64 rows on a CPU core, and at
some thousand rows on a GPU."""


class InferenceEngine:
    """Answers requests over one base. Not thread-safe; each call returns between two steps.

    Args:
        base: the resident model, shared by all requests.
        max_rows: the most candidates that are generated at once; others wait. At least 8, the most candidates of one
            request.
        prefill_tokens: the most prompt tokens that a step reads; None: a number that suits the device.
        cache_bytes: memory for keys and values; None: a quarter of what is free, at most 2 GiB, on a CPU (taken as it
            is used), half of what is free on a GPU. Requests wait while it is full.
        capture: makes graphs of steps; None: CUDA graphs on a GPU, no graphs elsewhere.
        clock: a monotonic clock, in seconds, by which owners share the time for long prompts.

    Attributes:
        grammars: the compiled answer formats. Compiling one takes up to seconds; call `grammars.begin` in another
            thread first if the engine should run meanwhile.

    """

    def __init__(
        self,
        base: LoadedBase,
        *,
        max_rows: int = 64,
        prefill_tokens: int | None = None,
        cache_bytes: int | None = None,
        capture: Capture | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_rows < MAX_CANDIDATES:
            raise ValueError(f"max_rows must be at least {MAX_CANDIDATES}, the most candidates of one request")
        if base.decoder is not None and base.weight_copies.prepacked:
            base.decoder.pack(backward=False)
        self._base = base
        # Kept, since it is needed for each token, and a base's renderer could be busy.
        self._tokenizer = base.chat.tokenizer
        self._weights = int(base.model.num_parameters())
        self._vocabulary_size = int(base.model.config.get_text_config().vocab_size)
        self.grammars = Grammars(base.chat, vocabulary_size=self._vocabulary_size)
        self._texts = TokenTexts(self._decode_all, anchor=_ordinary_token(base))
        shapes = probed_shapes(base.model)
        pages = planned_pages(
            shapes,
            budget_bytes=cache_bytes or _cache_bytes(base.device),
            dtype=base.dtype,
            context_tokens=base.context_tokens,
            max_rows=max_rows,
        )
        kept_bytes = _CPU_KEPT_BYTES if base.device.type == "cpu" else None
        self._cache = KvCache(shapes, pages=pages, dtype=base.dtype, device=base.device, kept_bytes=kept_bytes)
        self._graphs = DecodeGraphs.of(base, self._cache, capture)
        self._compiled = CompiledRows.of(base, self._cache) if self._graphs is None else None
        in_parts = base.decoder is not None and base.device.type == "cpu" and self._graphs is None
        self._scheduler = Scheduler(
            self._cache,
            max_rows=max_rows,
            prefill_tokens=prefill_tokens or _prefill_tokens(base.device),
            attention_tokens=_attention_tokens(base.model),
            reads_apart=in_parts,
        )
        self._clock = clock
        self._parts: PromptParts | None = None
        if in_parts and base.decoder is not None:
            self._parts = PromptParts(base, base.decoder, self._cache, self._scheduler, clock)

    @property
    def has_work(self) -> bool:
        """Whether there are sequences to run."""
        return self._scheduler.has_work

    @property
    def longest_tokens(self) -> int:
        """The most tokens of prompt and answer together: the context length, or the cache's capacity if less."""
        return min(self._base.context_tokens, self._cache.capacity_tokens)

    def add(self, request: TokenRequest) -> None:
        """Queue a request; its first tokens come from a later step.

        Raises:
            InvalidArgument: the prompt leaves no room for a token of output, or the answer format cannot be enforced.

        """
        prompt_tokens = len(request.prompt_ids)
        if not 1 <= prompt_tokens < self.longest_tokens:
            raise _does_not_fit(prompt_tokens, self._base.context_tokens, self._cache.capacity_tokens)
        usage = Usage(prompt_tokens=prompt_tokens)
        first, *others = [self._candidate(request, number, usage) for number in range(request.sampling.candidate_count)]
        first.siblings = others
        self._scheduler.add(first)

    def step(self) -> list[EngineOutput]:
        """Run one batch, choose a token for each sequence that is ready; return the new text and finished answers.

        After the batch, or in its place, a part of a long prompt may be read.
        """
        scheduled = self._scheduler.schedule()
        began = self._clock()
        outputs = self._run(scheduled) if scheduled else []
        if self._parts is not None:
            self._parts.passed(self._clock() - began)
            if read := self._parts.read_on(busy=bool(scheduled)):
                chunk, logits_BV = read
                outputs += self._outputs([chunk], logits_BV)
        return outputs

    def _run(self, scheduled: list[ScheduledTokens]) -> list[EngineOutput]:
        # The order in which `CachedPlan` is fastest: spans of one token last, the shortest sequence first.
        scheduled.sort(key=lambda item: (item.tokens == 1, len(item.sequence.tokens)))
        operations = 2 * sum(item.tokens for item in scheduled) * self._weights
        with one_thread(only=is_small(operations, weight_bytes=self._weights * self._base.dtype.itemsize)):
            logits_BV = self._forward(scheduled)
        return self._outputs(scheduled, logits_BV)

    def _outputs(self, scheduled: Items[ScheduledTokens], logits_BV: Tensor) -> list[EngineOutput]:
        """Choose the next tokens after these have been fed."""
        ready, rows = self._ready(scheduled)
        # Candidates of one request share the prompt's row of logits. All other rows are chosen from once.
        own_BV = logits_BV if len(rows) == len(logits_BV) else logits_BV[rows]
        choices = sample(own_BV, [sequence.draw for sequence in ready])
        outputs = [self._advance(*chosen) for chosen in zip(ready, choices, strict=True)]
        return [output for output in outputs if output is not None]

    def cancel(self, request_id: str, candidate: int | None = None) -> None:
        """Drop a request, or one of its candidates if that has begun; its rows are free for the next step.

        An unknown or finished request or candidate is ignored.
        """
        for sequence in self._scheduler.of_request(request_id):
            if candidate in (None, sequence.candidate):
                self._scheduler.remove(sequence)
        if self._parts is not None:
            self._parts.drop_ended()

    def forget_adapter(self, generation: int) -> None:
        """Free what is kept for later prompts on an adapter that leaves its slot; `generation` as in `AdapterSlots`."""
        self._cache.forget_adapter(generation)

    def _candidate(self, request: TokenRequest, number: int, usage: Usage) -> Sequence:
        labels = self._base.chat.next_turn_labels if request.stops_at_labels else ()
        return Sequence(
            request=request,
            adapter=self._base.slots.generation(request.slot),
            candidate=number,
            tokens=list(request.prompt_ids),
            draw=self._draw(request, number),
            detokenizer=Detokenizer(self._decode, lead=self._base.chat.lead),
            stops=StopSequences((*request.sampling.stop_sequences, *labels)),
            usage=usage,
        )

    def _draw(self, request: TokenRequest, candidate: int) -> Draw:
        sampling, form = request.sampling, request.sampling.answer_format
        most_tokens = min(sampling.max_output_tokens, self.longest_tokens - len(request.prompt_ids))
        return Draw(
            sampling,
            row_randomness(sampling.seed, candidate),
            Penalties.of(sampling, vocabulary_size=self._vocabulary_size, device=self._base.device),
            None if form is None else self.grammars.begin(form, most_tokens),
        )

    @torch.inference_mode()
    def _forward(self, scheduled: Items[ScheduledTokens]) -> Tensor:
        """Run the scheduled tokens; return the logits `BV` of those sequences that have no more tokens to feed."""
        return self._packed(scheduled) if self._compiled is None else self._compiled.logits(scheduled, self._packed)

    def _packed(self, scheduled: Items[ScheduledTokens]) -> Tensor:
        """Like `_forward`, by the model's own pass over one packed row, or by a graph."""
        spans = [
            Span(each.sequence.pages, each.sequence.cached, each.sequence.cached + each.tokens) for each in scheduled
        ]
        fed = list(zip(scheduled, spans, strict=True))
        ids_T = [token for item, span in fed for token in item.sequence.tokens[span.begin : span.end]]
        positions_T = [position for span in spans for position in range(span.begin, span.end)]
        slots_T = [slot for item in scheduled for slot in [item.sequence.request.slot] * item.tokens]
        last, kept_B = -1, []
        for item in scheduled:
            last += item.tokens
            if item.completes:
                kept_B.append(last)

        def ordinary() -> Tensor:
            device = self._base.device
            return self._base.logits(
                torch.tensor(ids_T, device=device),
                torch.tensor(positions_T, device=device),
                torch.tensor(kept_B, dtype=torch.long),
                CachedPlan(self._cache, spans, self._base.kernels.attention),
                slots_T,
            )

        if self._graphs is None or len(kept_B) < len(scheduled):
            return ordinary()
        return self._graphs.logits(ids_T, spans, slots_T, ordinary)

    def _ready(self, scheduled: Items[ScheduledTokens]) -> tuple[list[Sequence], list[int]]:
        """The sequences whose next token can be chosen, and for each the index of its row in the logits."""
        ready: list[Sequence] = []
        rows: list[int] = []
        row = 0
        for item in scheduled:
            completes = item.completes
            item.sequence.cached += item.tokens
            if completes:
                choosing = [item.sequence, *self._scheduler.branch(item.sequence)]
                ready += choosing
                rows += [row] * len(choosing)
                row += 1
        return ready, rows

    def _advance(self, sequence: Sequence, choice: Choice | None) -> EngineOutput | None:
        """Append the chosen token to its sequence, and end the sequence if it is finished.

        Returns None if there is nothing to report.
        """
        if choice is None:
            self._scheduler.remove(sequence, reuse_pages=False)
            return sequence.output("", FinishReason.STOP, _fault_of(sequence))
        text, reason = self._accept(sequence, choice)
        if reason is not None:
            self._scheduler.remove(sequence)
        return sequence.output(text, reason) if text or reason else None

    def _accept(self, sequence: Sequence, choice: Choice) -> tuple[str, FinishReason | None]:
        if choice.token in self._base.chat.end_of_turn_ids:
            return sequence.flush(), FinishReason.STOP
        text = sequence.accept(choice.token)
        if choice.log_probability is not None:
            sequence.unreported.append(self._reported(choice, choice.log_probability))
        if not sequence.stops.met and (sequence.is_format_complete or self._is_full(sequence)):
            text += sequence.flush(is_cut=not sequence.may_end)
            stopped = sequence.stops.met or sequence.may_end
            return text, FinishReason.STOP if stopped else FinishReason.MAX_TOKENS
        return text, FinishReason.STOP if sequence.stops.met else None

    def _reported(self, choice: Choice, log_probability: float) -> ChosenToken:
        return ChosenToken(
            chosen=TokenLogprob(self._texts[choice.token], choice.token, log_probability),
            likeliest=tuple(
                TokenLogprob(self._texts[each.token], each.token, each.log_probability) for each in choice.likeliest
            ),
        )

    def _is_full(self, sequence: Sequence) -> bool:
        allowed = sequence.request.sampling.max_output_tokens
        return sequence.generated >= allowed or len(sequence.tokens) >= self.longest_tokens

    def _decode(self, tokens: Items[int], *, skip_special_tokens: bool = True) -> str:
        text = self._tokenizer.decode(
            list(tokens), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
        return cast("str", text)

    def _decode_all(self, tokens: Items[int]) -> str:
        return self._decode(tokens, skip_special_tokens=False)


def _ordinary_token(base: LoadedBase) -> int:
    ids: list[int] = base.chat.tokenizer.encode("a", add_special_tokens=False)
    return ids[-1] if ids else 0


def _does_not_fit(prompt_tokens: int, context_tokens: int, cache_tokens: int) -> InvalidArgument:
    limits = f"the model's context is {context_tokens} tokens, prompt and answer together"
    if cache_tokens < context_tokens:
        limits = f"this server's memory for one answer holds {cache_tokens} tokens, prompt and answer together"
    reason = (
        f"the prompt is {prompt_tokens} tokens long; {limits}, and at least one is needed for each. Shorten the prompt"
    )
    return InvalidArgument(reason, violations=(FieldViolation(field="prompt", description=reason),))


def _fault_of(sequence: Sequence) -> TuningforkError:
    """The error of a sequence for which no token could be chosen."""
    constraint = sequence.draw.constraint
    if constraint is not None and constraint.fault is not None:
        return constraint.fault
    alone = sequence.request.slot == BASE_ALONE
    culprit = "the base model" if alone else "the tuned model's adapter or its base model"
    return InternalError(
        f"the model computed values that are not finite numbers: {culprit} has weights that are damaged"
    )


def _cache_bytes(device: torch.device) -> int:
    memory = available_memory(device)
    return _USUAL_CACHE_BYTES if memory is None else planned_cache_bytes(memory, device)


def _attention_tokens(model: PreTrainedModel) -> int:
    """The number of cached tokens at which a token's attention costs as much as its products with the weights.

    A token takes two operations for each weight of the model, and four operations for each cached token, times the
    total width of the query heads.
    """
    config = model.config.get_text_config()
    return max(1, int(model.num_parameters()) // int(2 * config.hidden_size * config.num_hidden_layers))


def _prefill_tokens(device: torch.device) -> int:
    return _CPU_PREFILL_TOKENS if device.type == "cpu" else _GPU_PREFILL_TOKENS
