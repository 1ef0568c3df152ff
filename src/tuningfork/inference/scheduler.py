"""Decides what each step feeds: every sequence that speaks gets its token, prompts are read in pieces beside them."""

from collections import deque
from collections.abc import Sequence as Items
from dataclasses import dataclass

from tuningfork.inference.kv_cache import KvCache, pages_for
from tuningfork.inference.sequence import Sequence


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

    """

    def __init__(self, cache: KvCache, *, max_rows: int, prefill_tokens: int) -> None:
        self._cache = cache
        self._max_rows = max_rows
        self._prefill_tokens = prefill_tokens
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
        self._make_room()
        self._admit()
        speaking = [Turn(sequence, 1) for sequence in self._running if sequence.missing == 1]
        reading = [sequence for sequence in self._running if sequence.missing > 1]
        return speaking + _readers(reading, self._prefill_tokens)

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

    def remove(self, sequence: Sequence) -> None:
        """End a sequence, running or waiting: its row and its pages are free for the next step."""
        self._cache.release(sequence.pages)
        (self._running if sequence in self._running else self._waiting).remove(sequence)

    def of_request(self, request_id: str) -> list[Sequence]:
        """The sequences of one request that have not ended; siblings go with the one they wait for."""
        return [each for each in (*self._running, *self._waiting) if each.request.id == request_id]

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
        # Its tokens are kept, its keys and values are not: it will read them again, and then go on where it was.
        self.remove(sequence)
        sequence.cached = 0
        self._waiting.appendleft(sequence)

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0]):
            sequence = self._waiting.popleft()
            self._cache.extend(sequence.pages, len(sequence.tokens))
            self._running.append(sequence)

    def _fits(self, sequence: Sequence) -> bool:
        rows = sum(each.rows for each in self._running) + sequence.rows
        # One page is left for each that runs already, or it would be put back at once.
        pages = pages_for(len(sequence.tokens)) + len(self._running)
        return rows <= self._max_rows and pages <= self._cache.free_pages


def _readers(reading: Items[Sequence], tokens: int) -> list[Turn]:
    """Who reads on in a step of so many tokens: the oldest, so that nobody waits for ever, then the nearly done.

    Each reads half a step's tokens or all it has left, never less: where a prompt is cut depends on the prompt alone,
    or its numbers would be rounded differently beside others.
    """
    turns: list[Turn] = []
    for sequence in [*reading[:1], *sorted(reading[1:], key=lambda each: each.missing)]:
        piece = min(sequence.missing, max(1, tokens // 2))
        if turns and sum(turn.tokens for turn in turns) + piece > tokens:
            break
        turns.append(Turn(sequence, piece))
    return turns
