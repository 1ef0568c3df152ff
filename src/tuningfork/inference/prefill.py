"""How prompts are cut into chunks, and what a chunk costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from tuningfork.inference.sequence import Sequence

_DEEP_STEPS = 4
"""A chunk late in a long prompt may cost this many times as much as a full step at the start of a prompt."""
_FETCHING_TOKENS = 40
"""A chunk's cost of reading the cached keys and values: that of the attention of this many tokens to them."""
STEP_COST = 40
"""A step's fixed cost takes as long as prefilling this many tokens."""
DECODE_SHARE = 0.25
"""After an expensive prefill chunk, decoding gets this share of the chunk's time before the next expensive chunk.

The four figures above were measured on a CPU core with the embedded model, after up to 150,000 cached tokens.
"""


@dataclass(frozen=True, slots=True)
class ScheduledTokens:
    """How many tokens of a sequence one step feeds to the model."""

    sequence: Sequence
    tokens: int

    @property
    def completes(self) -> bool:
        """Whether the sequence's next token can be chosen after this step."""
        return self.tokens == self.sequence.missing


@dataclass(frozen=True, slots=True)
class Prefill:
    """Decides how many prompt tokens a step feeds: `tokens` at most, and fewer where they attend to many cached tokens.

    The unit of cost is one token at the start of a prompt.
    """

    tokens: int
    attention_tokens: int | None

    def chunks(self, prefilling: Iterable[Sequence], *, most: int | None = None) -> list[ScheduledTokens]:
        """The next chunk of each prompt, in the given order, as far as one step's limits allow; at least one chunk.

        `most`: the step's limit if it is not `tokens`.
        """
        most = most or self.tokens
        chosen: list[ScheduledTokens] = []
        for sequence in prefilling:
            chunk = self.next_chunk(sequence)
            tokens = sum(each.tokens for each in chosen) + chunk.tokens
            cost = sum(map(self.cost, chosen)) + self.cost(chunk)
            if chosen and (tokens > most or cost > _DEEP_STEPS * self.tokens):
                break
            chosen.append(chunk)
        return chosen

    def is_cheap(self, sequence: Sequence, *, most: int | None = None) -> bool:
        """Whether the sequence's next chunk costs at most as much as `most` tokens without a context, or is one token.

        `most`: `tokens` if not given.
        """
        chunk = self.next_chunk(sequence)
        # One token is always fed as in decoding, which may round differently from reading a prompt apart from steps.
        return chunk.tokens == 1 or self.cost(chunk) <= (most or self.tokens)

    def cost(self, chunk: ScheduledTokens) -> float:
        """The cost of feeding these tokens, including that of reading the cached keys and values before them."""
        depth = self._depth(chunk.sequence.cached)
        return chunk.tokens * (1 + depth) + _FETCHING_TOKENS * depth

    def next_chunk(self, sequence: Sequence) -> ScheduledTokens:
        """The next chunk: half of `tokens`, or fewer late in a long prompt (at least an eighth), or all that are left.

        The cuts depend on the prompt and on its cached prefix alone, not on the other sequences of a step: rounding
        depends on the cuts, and an answer must not depend on other requests. Smaller chunks would hardly be faster,
        since every chunk reads all cached keys; so late in a long prompt a chunk may cost as much as four steps.
        """
        bounded = int(_DEEP_STEPS * self.tokens / (1 + self._depth(sequence.cached)))
        chunk = max(1, self.tokens // 8, min(self.tokens // 2, bounded))
        return ScheduledTokens(sequence, min(sequence.missing, chunk))

    def _depth(self, cached: int) -> float:
        return 0.0 if self.attention_tokens is None else cached / self.attention_tokens
