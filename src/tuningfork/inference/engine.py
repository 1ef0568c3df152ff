"""Continuous batching over one resident base: requests join and leave between steps, each on its own adapter.

A step is one forward pass over one packed row of tokens: the newest token of every sequence that speaks, and a share of
the prompts that are still being read. Adapters are chosen for each token, so that a batch may mix any of them.

Shape suffixes: T packed tokens, B rows (sequences that choose a token), V vocabulary.
"""

from collections.abc import Sequence as Items
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.domain.errors import FieldViolation, InternalError, InvalidArgument, TuningforkError
from tuningfork.domain.generation import MAX_CANDIDATES, ChosenToken, FinishReason, Sampling, TokenLogprob
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.constraints import Grammars
from tuningfork.inference.detokenizer import Detokenizer, TokenTexts
from tuningfork.inference.graphs import DecodeGraphs
from tuningfork.inference.kv_cache import KvCache, planned_pages, probed_shapes
from tuningfork.inference.penalties import Penalties
from tuningfork.inference.sampling import Choice, Draw, row_randomness, sample
from tuningfork.inference.scheduler import Scheduler, Turn
from tuningfork.inference.sequence import EngineOutput, Sequence, TokenRequest, Usage
from tuningfork.inference.stop_sequences import StopSequences
from tuningfork.modeling.available_memory import available_memory
from tuningfork.modeling.capture import Capture
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.lora import BASE_ALONE
from tuningfork.modeling.memory_plan import cache_bytes as planned_cache_bytes
from tuningfork.modeling.threads import is_small, one_thread

__all__ = ["EngineOutput", "InferenceEngine", "TokenRequest"]

_USUAL_CACHE_BYTES = 2 * 1024**3
"""Where the system does not tell how much memory there is."""
_CPU_KEPT_BYTES = 512 * 1024**2
"""Of these so many at most keep what only later requests may want. A GPU's memory is taken in any case."""

_CPU_PREFILL_TOKENS = 512
_GPU_PREFILL_TOKENS = 4096
"""Matrix products are at full speed from about 64 rows on a CPU core, and from some thousand on a GPU."""


class InferenceEngine:
    """Answers requests over one base. Not thread-safe; each call returns between two steps.

    Args:
        base: the resident model, shared by all requests.
        max_rows: candidates generated side by side; more wait. At least 8, the most candidates of one request.
        prefill_tokens: prompt tokens read in one step; None: what suits the device.
        cache_bytes: memory for keys and values; None: a quarter of what is free, at most 2 GiB, on a CPU (taken as it
            is used), half of what is free on a GPU. Requests wait while it is full.

    Attributes:
        grammars: the forms that answers were held to. Compiling one takes up to seconds; who wants the engine to go on
            meanwhile lets another thread `begin` one that it does not have.

    """

    def __init__(
        self,
        base: LoadedBase,
        *,
        max_rows: int = 64,
        prefill_tokens: int | None = None,
        cache_bytes: int | None = None,
        capture: Capture | None = None,
    ) -> None:
        if max_rows < MAX_CANDIDATES:
            raise ValueError(f"max_rows must be at least {MAX_CANDIDATES}, the most candidates of one request")
        if base.decoder is not None and base.luxuries.prepacked:
            base.decoder.pack(backward=False)
        self._base = base
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
        self._scheduler = Scheduler(
            self._cache,
            max_rows=max_rows,
            prefill_tokens=prefill_tokens or _prefill_tokens(base.device),
            attention_tokens=_attention_tokens(base.model),
        )

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self._scheduler.has_work

    @property
    def longest_tokens(self) -> int:
        """Tokens of prompt and answer together: what the context holds, or the cache if that is smaller."""
        return min(self._base.context_tokens, self._cache.capacity_tokens)

    def add(self, request: TokenRequest) -> None:
        """Queue a request; its first tokens come from a later step.

        Raises:
            InvalidArgument: the prompt leaves no room for a token of output, or the answer cannot be held to its form.

        """
        prompt_tokens = len(request.prompt_ids)
        if not 1 <= prompt_tokens < self.longest_tokens:
            raise _does_not_fit(prompt_tokens, self._base.context_tokens, self._cache.capacity_tokens)
        usage = Usage(prompt_tokens=prompt_tokens)
        first, *others = [self._candidate(request, number, usage) for number in range(request.sampling.candidate_count)]
        first.siblings = others
        self._scheduler.add(first)

    def step(self) -> list[EngineOutput]:
        """Feed one batch, choose a token for every sequence that is ready, and return what can be shown of them."""
        turns = self._scheduler.schedule()
        if not turns:
            return []
        # Where each group of rows is fastest: see CachedPlan.
        turns.sort(key=lambda turn: (turn.tokens == 1, len(turn.sequence.tokens)))
        operations = 2 * sum(turn.tokens for turn in turns) * self._weights
        with one_thread(only=is_small(operations, weight_bytes=self._weights * self._base.dtype.itemsize)):
            logits_BV = self._forward(turns)
        ready, rows = self._ready(turns)
        # Only a request's further candidates look at a row that others look at too.
        own_BV = logits_BV if len(rows) == len(logits_BV) else logits_BV[rows]
        choices = sample(own_BV, [sequence.draw for sequence in ready])
        outputs = [self._advance(*chosen) for chosen in zip(ready, choices, strict=True)]
        return [output for output in outputs if output is not None]

    def cancel(self, request_id: str, candidate: int | None = None) -> None:
        """Forget a request, or one of its candidates that has begun; the rows are free for the next step.

        Unknown and finished ones are ignored.
        """
        for sequence in self._scheduler.of_request(request_id):
            if candidate in (None, sequence.candidate):
                self._scheduler.remove(sequence)

    def _candidate(self, request: TokenRequest, number: int, usage: Usage) -> Sequence:
        return Sequence(
            request=request,
            adapter=self._base.slots.generation(request.slot),
            candidate=number,
            tokens=list(request.prompt_ids),
            draw=self._draw(request.sampling, number),
            detokenizer=Detokenizer(self._decode, lead=self._base.chat.lead),
            stops=StopSequences(request.sampling.stop_sequences),
            usage=usage,
        )

    def _draw(self, sampling: Sampling, candidate: int) -> Draw:
        form = sampling.answer_format
        return Draw(
            sampling,
            row_randomness(sampling.seed, candidate),
            Penalties.of(sampling, vocabulary_size=self._vocabulary_size, device=self._base.device),
            None if form is None else self.grammars.begin(form),
        )

    @torch.inference_mode()
    def _forward(self, turns: Items[Turn]) -> Tensor:
        """Feed the turns' tokens; the logits `BV` of those that complete their sequence, in order."""
        spans = [Span(t.sequence.pages, t.sequence.cached, t.sequence.cached + t.tokens) for t in turns]
        fed = list(zip(turns, spans, strict=True))
        ids_T = [token for turn, span in fed for token in turn.sequence.tokens[span.begin : span.end]]
        positions_T = [position for span in spans for position in range(span.begin, span.end)]
        slots_T = [slot for turn in turns for slot in [turn.sequence.request.slot] * turn.tokens]
        last, kept_B = -1, []
        for turn in turns:
            last += turn.tokens
            if turn.completes:
                kept_B.append(last)

        def ordinary() -> Tensor:
            device = self._base.device
            return self._base.logits(
                torch.tensor(ids_T, device=device),
                torch.tensor(positions_T, device=device),
                torch.tensor(kept_B, dtype=torch.long),
                CachedPlan(self._cache, spans),
                slots_T,
            )

        if self._graphs is None or len(kept_B) < len(turns):
            return ordinary()
        return self._graphs.logits(ids_T, spans, slots_T, ordinary)

    def _ready(self, turns: Items[Turn]) -> tuple[list[Sequence], list[int]]:
        """The sequences that choose a token now, and which row of the logits each looks at."""
        ready: list[Sequence] = []
        rows: list[int] = []
        row = 0
        for turn in turns:
            completes = turn.completes
            turn.sequence.cached += turn.tokens
            if completes:
                choosing = [turn.sequence, *self._scheduler.branch(turn.sequence)]
                ready += choosing
                rows += [row] * len(choosing)
                row += 1
        return ready, rows

    def _advance(self, sequence: Sequence, choice: Choice | None) -> EngineOutput | None:
        """Add the token to its sequence and end that if it is time; None: there is nothing to show."""
        if choice is None:
            self._scheduler.remove(sequence, is_sound=False)
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
        if not sequence.stops.met and (sequence.is_whole or self._is_full(sequence)):
            text += sequence.flush()
            stopped = sequence.stops.met or sequence.is_whole
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
        tokenizer = self._base.chat.tokenizer
        text = tokenizer.decode(
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
    """Why no token could be chosen."""
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
    """How many cached tokens make a token's attention cost what its products with the weights do.

    A token costs two operations a weight, and four a cached token for each number that a layer attends with.
    """
    config = model.config.get_text_config()
    return max(1, int(model.num_parameters()) // int(2 * config.hidden_size * config.num_hidden_layers))


def _prefill_tokens(device: torch.device) -> int:
    return _CPU_PREFILL_TOKENS if device.type == "cpu" else _GPU_PREFILL_TOKENS
