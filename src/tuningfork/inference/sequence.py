"""One candidate of one request on its way: its tokens, what of them is cached, and what of its text was shown."""

from dataclasses import dataclass, field

from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, Sampling
from tuningfork.inference.detokenizer import Detokenizer
from tuningfork.inference.sampling import Draw
from tuningfork.inference.stop_sequences import StopSequences
from tuningfork.modeling.lora import BASE_ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """One request as the engine takes it. `slot` is the adapter's, pinned by the caller until the request ends."""

    id: str
    prompt_ids: tuple[int, ...]
    slot: int = BASE_ALONE
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOutput:
    """A piece of one candidate. Where `error` is set the candidate failed, and the chunk is its last."""

    request_id: str
    chunk: Chunk
    error: TuningforkError | None = None


@dataclass(slots=True, kw_only=True)
class Usage:
    """The token counts of one request, shared by its candidates.

    Of the prompt's tokens, `cached_prompt_tokens` were not read: another prompt that begins alike had been.
    """

    prompt_tokens: int
    output_tokens: int = 0
    cached_prompt_tokens: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One candidate. `tokens` is the prompt and what was generated; the first `cached` of them have keys and values.

    `adapter` tells by which weights: the slot's generation, since slots are used again. `pages` are the cache's, in
    order; the first `known` of them can be found by others. `siblings` are the request's further candidates for as long
    as they wait for this one to read the prompt for them all. `unreported` are log probabilities that go out with the
    next piece.
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

    @property
    def rows(self) -> int:
        """How many rows of the batch this one takes, now or once its siblings come."""
        return 1 + len(self.siblings)

    @property
    def missing(self) -> int:
        """Tokens that have to pass through the model before the next one can be chosen."""
        return len(self.tokens) - self.cached

    @property
    def generated(self) -> int:
        """Tokens beyond the prompt."""
        return len(self.tokens) - len(self.request.prompt_ids)

    @property
    def is_whole(self) -> bool:
        """Whether the form that is asked of the answer leaves nothing more to say."""
        return self.draw.constraint is not None and self.draw.constraint.complete

    def skip_to(self, cached: int) -> None:
        """Say that the tokens up to there need not be read: pages that others have filled hold them."""
        if self.candidate == 0 and not (self.generated or self.was_put_back):
            self.usage.cached_prompt_tokens += cached - self.cached
        self.cached = cached

    def put_back(self) -> None:
        """Say that it has no pages any more. The tokens are kept, so that it can go on where it was."""
        self.cached = self.known = 0
        self.was_put_back = True

    def accept(self, token: int) -> str:
        """Append a chosen token; returns the text that may be shown now."""
        self.tokens.append(token)
        self.usage.output_tokens += 1
        if self.draw.penalties is not None:
            self.draw.penalties.count(token)
        if self.draw.constraint is not None:
            self.draw.constraint.accept(token)
        return self.stops.push(self.detokenizer.push(token))

    def flush(self) -> str:
        """The text that was held back, when no more tokens come. A stop sequence may still be met in it."""
        text = self.stops.push(self.detokenizer.finish())
        return text + self.stops.flush()

    def output(
        self, text: str, finish_reason: FinishReason | None, error: TuningforkError | None = None
    ) -> EngineOutput:
        """What the caller hears of this step."""
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
