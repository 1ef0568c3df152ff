"""Decides what each step feeds: every sequence that speaks gets its token, prompts are read in pieces beside them.

What several prompts begin with is read once: by one of them while the others wait for its pages, or, where pages of an
earlier one are kept, by none.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass

from tuningfork.inference.beginnings import Place
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, pages_for
from tuningfork.inference.sequence import Sequence

_DEEP_STEPS = 4
"""So many times as much as a step has time for at a prompt's beginning, it may take deep in one."""
_FETCHING_TOKENS = 40
"""Fetching the keys and values of cached tokens takes as long as the attention of so many tokens to them."""
_STEP_COST = 40
"""What a step costs by itself takes as long as so many tokens."""
_OWED_SHARE = 0.25
"""The time that those who speak get for themselves after a deep piece, as a share of what it took.

The three figures above were measured on a CPU core with the embedded model, at depths up to 150,000 tokens.
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """So many tokens of a sequence that a step feeds."""

    sequence: Sequence
    tokens: int

    @property
    def completes(self) -> bool:
        """Whether the sequence's next token can be chosen after this step."""
        return self.tokens == self.sequence.missing


class Scheduler:
    """First come, first served. Who finds the cache full waits; who outgrows it makes the youngest wait.

    Args:
        cache: where sequences take pages.
        max_rows: sequences that run at once.
        prefill_tokens: prompt tokens that one step feeds at most, so that those who speak are not held up for long.
        attention_tokens: from so many cached tokens on, a prompt token's attention costs as much as all else; None:
            never. Deep in a long prompt a step therefore feeds fewer.

    """

    def __init__(
        self, cache: KvCache, *, max_rows: int, prefill_tokens: int, attention_tokens: int | None = None
    ) -> None:
        self._cache = cache
        self._max_rows = max_rows
        self._prefill = _Prefill(prefill_tokens, attention_tokens)
        self._oldest_first = False
        # Work that those who speak may do before the next deep piece.
        self._owed = 0.0
        self._waiting: deque[Sequence] = deque()
        # In the order of their coming, the oldest first.
        self._running: list[Sequence] = []

    @property
    def has_work(self) -> bool:
        """Whether any sequence runs or waits."""
        return bool(self._running or self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the queue."""
        self._waiting.append(sequence)

    def schedule(self) -> list[Turn]:
        """Whom the next step feeds how much; pages for it are held. Empty only when there is no work."""
        for sequence in self._running:
            self._keep(sequence)
        for sequence in self._running:
            self._skip(sequence)
        self._make_room()
        self._admit()
        speaking = [Turn(sequence, 1) for sequence in self._running if sequence.missing == 1]
        reading = self._readers(only_cheap=bool(speaking) and self._owed > 0)
        if speaking:
            self._settle(speaking, reading)
        return speaking + reading

    def branch(self, sequence: Sequence) -> list[Sequence]:
        """Let the siblings go their own ways from what the sequence has cached.

        Returns those that can choose a token now; a sibling for which the cache has no page reads the prompt itself,
        later.
        """
        siblings, sequence.siblings = sequence.siblings, []
        ready = []
        for sibling in siblings:
            pages = self._cache.share(sequence.pages, sequence.cached)
            if pages is None:
                self._waiting.appendleft(sibling)
                continue
            sibling.pages, sibling.cached = pages, sequence.cached
            ready.append(sibling)
        self._running += ready
        return ready

    def remove(self, sequence: Sequence, *, is_sound: bool = True) -> None:
        """End a sequence, running or waiting: its row and its pages are free for the next step.

        Its full pages are kept for others, except of one that is not sound: what it has computed is not used again.
        """
        if is_sound:
            self._keep(sequence)
        else:
            self._cache.forget(sequence.pages)
        self._cache.release(sequence.pages)
        (self._running if sequence in self._running else self._waiting).remove(sequence)

    def of_request(self, request_id: str) -> list[Sequence]:
        """The sequences of one request that have not ended; siblings go with the one they wait for."""
        return [each for each in (*self._running, *self._waiting) if each.request.id == request_id]

    def _keep(self, sequence: Sequence) -> None:
        """Let others find the pages that it has filled."""
        full = sequence.cached // PAGE_TOKENS
        sequence.known = self._cache.keep(
            sequence.adapter, sequence.tokens, sequence.pages, known=sequence.known, full=full
        )

    def _skip(self, sequence: Sequence) -> None:
        """Take over what others have filled of what it has still to read."""
        full = sequence.cached // PAGE_TOKENS
        if sequence.missing > 1 and sequence.known == full and (found := self._found(sequence)):
            self._cache.adopt(found, sequence.pages, full)
            sequence.known = full + len(found)
            sequence.skip_to(sequence.known * PAGE_TOKENS)

    def _found(self, sequence: Sequence) -> list[int]:
        """Known pages with the tokens that come next. The last token is always read, or nothing could be chosen."""
        most = (len(sequence.tokens) - 1) // PAGE_TOKENS
        return self._cache.find(sequence.adapter, sequence.tokens, sequence.pages, known=sequence.known, most=most)

    def _without_doubles(self, reading: Items[Sequence]) -> Iterator[Sequence]:
        """Those who read what none before them in the list is about to read as well; the others wait for its pages."""
        places: set[Place] = set()
        for sequence in reading:
            place = self._place(sequence)
            if place not in places:
                yield sequence
            if place is not None:
                places.add(place)

    def _place(self, sequence: Sequence) -> Place | None:
        """Of the page that it is about to fill, if it could take that over from another."""
        full = sequence.cached // PAGE_TOKENS
        if sequence.known != full or (full + 1) * PAGE_TOKENS >= len(sequence.tokens):
            return None
        return self._cache.place(sequence.adapter, sequence.tokens, sequence.pages, full)

    def _readers(self, *, only_cheap: bool) -> list[Turn]:
        """Who reads on: the oldest, so that nobody waits for ever, and the nearly done, so that nobody waits long.

        They take turns at coming first: deep in a prompt, the first one's piece is all that a step has time for.
        """
        reading = [each for each in self._running if each.missing > 1]
        nearly_done = sorted(reading, key=lambda each: each.missing)
        if only_cheap:
            cheap = [each for each in nearly_done if self._prefill.is_cheap(each)]
            return self._prefill.pieces(self._without_doubles(cheap))
        self._oldest_first = not self._oldest_first
        if self._oldest_first:
            nearly_done = [*reading[:1], *(each for each in nearly_done if each is not reading[0])]
        return self._prefill.pieces(self._without_doubles(nearly_done))

    def _settle(self, speaking: Items[Turn], reading: Items[Turn]) -> None:
        """Let those who speak have steps of their own after one that a deep piece made long."""
        dear = [turn for turn in reading if not self._prefill.is_cheap(turn.sequence)]
        if dear:
            self._owed = _OWED_SHARE * sum(map(self._prefill.cost, dear))
        else:
            self._owed -= _STEP_COST + sum(map(self._prefill.cost, speaking))

    def _make_room(self) -> None:
        """Hold the page for each running sequence's next token, the oldest first."""
        index = 0
        while index < len(self._running):
            sequence = self._running[index]
            if self._cache.extend(sequence.pages, len(sequence.tokens)):
                index += 1
            else:
                self._put_back(self._running[-1])

    def _put_back(self, sequence: Sequence) -> None:
        # Of its keys and values it will read again what the others have not left.
        self.remove(sequence)
        sequence.put_back()
        self._waiting.appendleft(sequence)

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0]):
            sequence = self._waiting.popleft()
            self._skip(sequence)
            self._cache.extend(sequence.pages, len(sequence.tokens))
            self._running.append(sequence)

    def _fits(self, sequence: Sequence) -> bool:
        rows = sum(each.rows for each in self._running) + sequence.rows
        if rows > self._max_rows:
            return False
        # One page is left for each that runs already, or it would be put back at once.
        pages = pages_for(len(sequence.tokens)) + len(self._running)
        return pages - self._cache.held(self._found(sequence)) <= self._cache.free_pages


@dataclass(frozen=True, slots=True)
class _Prefill:
    """How much of prompts a step reads: `tokens` at most, and fewer where they have many others to attend to.

    Costs are in tokens of a prompt's beginning.
    """

    tokens: int
    attention_tokens: int | None

    def pieces(self, reading: Iterable[Sequence]) -> list[Turn]:
        """The pieces of as many prompts as a step has time for, at least one's, in the given order."""
        turns: list[Turn] = []
        for sequence in reading:
            turn = self._next(sequence)
            tokens = sum(each.tokens for each in turns) + turn.tokens
            cost = sum(map(self.cost, turns)) + self.cost(turn)
            if turns and (tokens > self.tokens or cost > _DEEP_STEPS * self.tokens):
                break
            turns.append(turn)
        return turns

    def is_cheap(self, sequence: Sequence) -> bool:
        """Whether the next piece is no more than a step's work at a prompt's beginning."""
        return self.cost(self._next(sequence)) <= self.tokens

    def cost(self, turn: Turn) -> float:
        """Of feeding tokens behind those that are cached, whose keys are fetched besides."""
        depth = self._depth(turn.sequence.cached)
        return turn.tokens * (1 + depth) + _FETCHING_TOKENS * depth

    def _next(self, sequence: Sequence) -> Turn:
        """What is read at once: half a step's tokens or all that are left, deep in a prompt down to an eighth.

        It depends on nothing else: where a prompt is cut depends on the prompt, and on what is known of its beginning,
        not on the others, or its numbers would be rounded differently beside them. Smaller pieces would hardly be
        faster, since all cached keys are fetched for each; larger ones, up to four steps' worth of work, spare that.
        """
        bounded = int(_DEEP_STEPS * self.tokens / (1 + self._depth(sequence.cached)))
        piece = max(1, self.tokens // 8, min(self.tokens // 2, bounded))
        return Turn(sequence, min(sequence.missing, piece))

    def _depth(self, cached: int) -> float:
        return 0.0 if self.attention_tokens is None else cached / self.attention_tokens
