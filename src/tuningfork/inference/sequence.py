"""The state of one candidate while it is generated: its tokens, how many are cached, and the text reported so far."""

from dataclasses import dataclass, field

from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, Sampling
from tuningfork.inference.detokenizer import Detokenizer
from tuningfork.inference.prefix_index import Sharers
from tuningfork.inference.sampling import Draw
from tuningfork.inference.stop_sequences import StopSequences
from tuningfork.modeling.adapters.slots import BASE_ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A request to the engine. `slot` is its adapter's; the caller keeps the adapter loaded until the request ends.

    `owner` is on whose behalf it is made: owners have equal shares of the engine. Requests share prefixes only with
    requests of the same owner, or with any other one if both are `sharing_prefixes`. Unless it `stops_at_labels`, its
    answer may contain the label of a next turn (`ChatFormat.next_turn_labels`).
    """

    id: str
    prompt_ids: tuple[int, ...]
    slot: int = BASE_ALONE
    sampling: Sampling
    owner: str = ""
    sharing_prefixes: bool = False
    stops_at_labels: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOutput:
    """New text of one candidate. If `error` is set, the candidate failed and this chunk is its last."""

    request_id: str
    chunk: Chunk
    error: TuningforkError | None = None


@dataclass(slots=True, kw_only=True)
class Usage:
    """The token counts of one request, shared by its candidates.

    `cached_prompt_tokens` counts the prompt tokens that were found in the prefix cache instead of being computed.
    """

    prompt_tokens: int
    output_tokens: int = 0
    cached_prompt_tokens: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One candidate answer to a request, while it is generated.

    `tokens` are the prompt's and the generated tokens; the first `cached` of them have keys and values in the cache.
    `adapter` is the slot's generation, which identifies the weights, since slots are reused. `pages` are the sequence's
    pages in order; the first `known` of them are in the prefix cache. `siblings` are the request's other candidates
    while they wait for this one to prefill the prompt. `passed` counts the sequences that were admitted while this one
    was first in its owner's queue and did not fit. `reading` is how many of the next tokens a pass of its own is
    computing; 0: there is none. `unreported` are log probabilities to return with the next chunk of text.
    """

    request: TokenRequest
    adapter: int
    candidate: int
    tokens: list[int]
    draw: Draw
    detokenizer: Detokenizer
    stops: StopSequences
    usage: Usage
    siblings: list["Sequence"] = field(default_factory=list)
    unreported: list[ChosenToken] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    cached: int = 0
    known: int = 0
    was_put_back: bool = False
    passed: int = 0
    reading: int = 0

    @property
    def sharers(self) -> Sharers:
        """The sequences with which this one may share pages of the prefix cache."""
        return self.adapter, None if self.request.sharing_prefixes else self.request.owner

    @property
    def owner(self) -> str:
        """The owner of its request."""
        return self.request.owner

    @property
    def rows(self) -> int:
        """How many rows of the batch this sequence takes, its waiting siblings included."""
        return 1 + len(self.siblings)

    @property
    def missing(self) -> int:
        """How many tokens have to be fed to the model before the next token can be chosen."""
        return len(self.tokens) - self.cached

    @property
    def generated(self) -> int:
        """How many tokens have been generated."""
        return len(self.tokens) - len(self.request.prompt_ids)

    @property
    def is_format_complete(self) -> bool:
        """Whether the answer format is complete, so that generation ends."""
        return self.draw.constraint is not None and self.draw.constraint.complete

    @property
    def may_end(self) -> bool:
        """Whether the answer is complete in its answer format, even if it may go on."""
        return self.draw.constraint is not None and self.draw.constraint.may_end

    def skip_to(self, cached: int) -> None:
        """Count the first `cached` tokens as cached: they are in pages that other sequences filled."""
        if self.candidate == 0 and not (self.generated or self.was_put_back):
            self.usage.cached_prompt_tokens += cached - self.cached
        self.cached = cached

    def put_back(self) -> None:
        """Record that the sequence has lost its pages. It keeps its tokens, so that it can continue later."""
        self.cached = self.known = 0
        self.was_put_back = True

    def accept(self, token: int) -> str:
        """Append a chosen token; return the text that can be sent now."""
        self.tokens.append(token)
        self.usage.output_tokens += 1
        if self.draw.penalties is not None:
            self.draw.penalties.count(token)
        if self.draw.constraint is not None:
            self.draw.constraint.accept(token)
        return self.stops.push(self.detokenizer.push(token))

    def flush(self, *, is_cut: bool = False) -> str:
        """The text that was held back, after the last token; up to a stop sequence if the text contains one.

        Args:
            is_cut: whether a limit of tokens ended the answer; see `Detokenizer.finish`.

        """
        text = self.stops.push(self.detokenizer.finish(is_cut=is_cut))
        return text + self.stops.flush()

    def output(
        self, text: str, finish_reason: FinishReason | None, error: TuningforkError | None = None
    ) -> EngineOutput:
        """Build what the engine returns for this candidate: the text, log probabilities and token counts."""
        chunk = Chunk(
            candidate=self.candidate,
            text=text,
            finish_reason=finish_reason,
            prompt_tokens=self.usage.prompt_tokens,
            output_tokens=self.usage.output_tokens,
            cached_prompt_tokens=self.usage.cached_prompt_tokens,
            tokens=tuple(self.unreported),
        )
        self.unreported.clear()
        return EngineOutput(request_id=self.request.id, chunk=chunk, error=error)
