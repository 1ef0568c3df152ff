"""Decides what each step feeds to the model: a token of every sequence that decodes, and chunks of waiting prompts.

A long prompt is prefilled in chunks, one or more in each step (chunked prefill). A prefix that several prompts share is
prefilled once: one sequence computes its pages while the others wait for them. If the prefix cache still has the pages
of an earlier prompt, no sequence computes them again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from itertools import zip_longest

from tuningfork.domain.owner_queue import OwnerQueue
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, pages_for
from tuningfork.inference.prefix_index import PageKey
from tuningfork.inference.sequence import Sequence

_DEEP_STEPS = 4
"""A chunk late in a long prompt may cost this many times as much as a full step at the start of a prompt."""
_FETCHING_TOKENS = 40
"""A chunk's cost of reading the cached keys and values: that of the attention of this many tokens to them."""
_STEP_COST = 40
"""A step's fixed cost takes as long as prefilling this many tokens."""
_DECODE_SHARE = 0.25
"""After an expensive prefill chunk, decoding gets this share of the chunk's time before the next expensive chunk.

The three figures above were measured on a CPU core with the embedded model, after up to 150,000 cached tokens.
"""

_MOST_PASSES = 16
"""How many sequences of other owners may be admitted before one that does not fit yet; then they wait for it."""
_MOST_TRIED = 8
"""For how many owners' sequences one step looks whether they fit, since most of them do not while the cache is full."""


@dataclass(frozen=True, slots=True)
class ScheduledTokens:
    """How many tokens of a sequence one step feeds to the model."""

    sequence: Sequence
    tokens: int

    @property
    def completes(self) -> bool:
        """Whether the sequence's next token can be chosen after this step."""
        return self.tokens == self.sequence.missing


class Scheduler:
    """Gives owners equal shares of the rows, as far as they want them; of one owner's sequences the oldest come first.

    A sequence waits while the cache is full or all rows are taken. When a running sequence needs a page and none is
    free, the youngest running sequence of the owner with the most rows is put back into the queue. So it is, too, when
    an owner with fewer rows waits. A sequence that does not fit holds up its owner's others, and those of other owners
    only after some have passed it, so that it fits one day.

    Args:
        cache: the pool that sequences take pages from.
        max_rows: the most sequences that run at once.
        prefill_tokens: the most prompt tokens that one step feeds, so that sequences that are decoding are not held up
            for long.
        attention_tokens: the number of cached tokens at which a prompt token's attention costs as much as the rest of
            its forward pass. Late in a long prompt, attention's cost lets a step feed fewer tokens. None: attention's
            cost is ignored.

    """

    def __init__(
        self, cache: KvCache, *, max_rows: int, prefill_tokens: int, attention_tokens: int | None = None
    ) -> None:
        self._cache = cache
        self._max_rows = max_rows
        self._prefill = _Prefill(prefill_tokens, attention_tokens)
        self._oldest_first = False
        # The owner whose prompt came first in the last step that read prompts of several owners.
        self._last_reader = ""
        # The cost that decode steps may still have before the next expensive prefill chunk, in tokens at the start of a
        # prompt; see `_update_decode_budget`.
        self._decode_budget = 0.0
        self._waiting: OwnerQueue[Sequence] = OwnerQueue()
        # In the order of arrival, the oldest sequence first.
        self._running: list[Sequence] = []

    @property
    def has_work(self) -> bool:
        """Whether any sequence runs or waits."""
        return bool(self._running or self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of its owner's queue."""
        self._waiting.append(sequence.owner, sequence)

    def schedule(self) -> list[ScheduledTokens]:
        """Decide how many tokens of which sequences the next step feeds, and reserve their pages.

        The result is empty only if there is no work.
        """
        for sequence in self._running:
            self._keep(sequence)
        for sequence in self._running:
            self._skip(sequence)
        self._make_room()
        self._admit()
        decoding = [ScheduledTokens(sequence, 1) for sequence in self._running if sequence.missing == 1]
        prefilling = self._choose_prefills(only_cheap=bool(decoding) and self._decode_budget > 0)
        if decoding:
            self._update_decode_budget(decoding, prefilling)
        return decoding + prefilling

    def branch(self, sequence: Sequence) -> list[Sequence]:
        """Start the siblings of a sequence, which share the pages that it has cached.

        Returns the siblings whose next token can be chosen now. A sibling for which the cache has no page waits, and
        prefills the prompt itself.
        """
        siblings, sequence.siblings = sequence.siblings, []
        ready = []
        for sibling in siblings:
            pages = self._cache.share(sequence.pages, sequence.cached)
            if pages is None:
                self._waiting.put_first(sibling.owner, sibling)
                continue
            sibling.pages, sibling.cached = pages, sequence.cached
            ready.append(sibling)
        self._running += ready
        return ready

    def remove(self, sequence: Sequence, *, reuse_pages: bool = True) -> None:
        """End a running or waiting sequence: its row and its pages are free for the next step.

        `reuse_pages`: whether the sequence's full pages stay in the prefix cache for later prompts.
        """
        if reuse_pages:
            self._keep(sequence)
        else:
            self._cache.forget(sequence.pages)
        self._cache.release(sequence.pages)
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting.remove(sequence.owner, sequence)

    def of_request(self, request_id: str) -> list[Sequence]:
        """The sequences of one request that have not ended, without siblings that `branch` has not started yet."""
        return [each for each in (*self._running, *self._waiting) if each.request.id == request_id]

    def _keep(self, sequence: Sequence) -> None:
        """Enter the pages that the sequence has filled into the prefix cache."""
        full = sequence.cached // PAGE_TOKENS
        sequence.known = self._cache.keep(
            sequence.sharers, sequence.tokens, sequence.pages, known=sequence.known, full=full
        )

    def _skip(self, sequence: Sequence) -> None:
        """Skip the next tokens of the sequence if their pages are in the prefix cache."""
        full = sequence.cached // PAGE_TOKENS
        if sequence.missing > 1 and sequence.known == full and (found := self._found(sequence)):
            self._cache.adopt(found, sequence.pages, full)
            sequence.known = full + len(found)
            sequence.skip_to(sequence.known * PAGE_TOKENS)

    def _found(self, sequence: Sequence) -> list[int]:
        """The pages in the prefix cache with the sequence's next tokens.

        The page of the last token is left out: that token is always fed, since its logits are needed.
        """
        most = (len(sequence.tokens) - 1) // PAGE_TOKENS
        return self._cache.find(sequence.sharers, sequence.tokens, sequence.pages, known=sequence.known, most=most)

    def _without_duplicates(self, prefilling: Items[Sequence]) -> Iterator[Sequence]:
        """The sequences, except those whose next page a sequence earlier in the list is about to fill.

        The excepted sequences wait for the page.
        """
        keys: set[PageKey] = set()
        for sequence in prefilling:
            key = self._next_page_key(sequence)
            if key not in keys:
                yield sequence
            if key is not None:
                keys.add(key)

    def _next_page_key(self, sequence: Sequence) -> PageKey | None:
        """The key of the page that the sequence is about to fill.

        None: the sequence cannot use another sequence's page instead.
        """
        full = sequence.cached // PAGE_TOKENS
        if sequence.known != full or (full + 1) * PAGE_TOKENS >= len(sequence.tokens):
            return None
        return self._cache.page_key(sequence.sharers, sequence.tokens, sequence.pages, full)

    def _choose_prefills(self, *, only_cheap: bool) -> list[ScheduledTokens]:
        """Choose the prompts that this step prefills, and how many tokens of each.

        Prompts with the fewest tokens left come first, for low latency. But every second time the oldest prompt comes
        first: its chunk may be so expensive that the step has no time for others, so otherwise it might never be
        chosen. Owners take turns.
        """
        prefilling = [each for each in self._running if each.missing > 1]
        if not only_cheap:
            self._oldest_first = not self._oldest_first
        of_owners: dict[str, list[Sequence]] = {}
        for sequence in prefilling:
            of_owners.setdefault(sequence.owner, []).append(sequence)
        ordered = [self._in_order(each, only_cheap=only_cheap) for each in self._readers(of_owners)]
        return self._prefill.chunks(self._without_duplicates([*_by_turns(ordered)]))

    def _readers(self, of_owners: dict[str, list[Sequence]]) -> list[list[Sequence]]:
        """The prompts of each owner; another owner comes first in each step."""
        owners = sorted(of_owners)
        if len(owners) > 1:
            later = [owner for owner in owners if owner > self._last_reader]
            owners = later + owners[: len(owners) - len(later)]
            self._last_reader = owners[0]
        return [of_owners[owner] for owner in owners]

    def _in_order(self, prefilling: list[Sequence], *, only_cheap: bool) -> list[Sequence]:
        """The prompts of one owner in the order in which they are to be read."""
        nearly_done = sorted(prefilling, key=lambda each: each.missing)
        if only_cheap:
            return [each for each in nearly_done if self._prefill.is_cheap(each)]
        if self._oldest_first:
            nearly_done = [*prefilling[:1], *(each for each in nearly_done if each is not prefilling[0])]
        return nearly_done

    def _update_decode_budget(self, decoding: Items[ScheduledTokens], prefilling: Items[ScheduledTokens]) -> None:
        """Update the decode budget, the cost of decoding that must pass before the next expensive chunk.

        A step with expensive chunks sets it, in proportion to their cost; any other step's cost is subtracted.
        """
        expensive = [chunk for chunk in prefilling if not self._prefill.is_cheap(chunk.sequence)]
        if expensive:
            self._decode_budget = _DECODE_SHARE * sum(map(self._prefill.cost, expensive))
        else:
            self._decode_budget -= _STEP_COST + sum(map(self._prefill.cost, decoding))

    def _make_room(self) -> None:
        """Reserve the page for each running sequence's next token, the oldest sequence first.

        Where no page is free, put the youngest running sequence of the owner with the most rows back into the queue.
        """
        index = 0
        while index < len(self._running):
            sequence = self._running[index]
            if self._cache.extend(sequence.pages, len(sequence.tokens)):
                index += 1
                continue
            victim = _youngest(self._running, _greediest(self._running))
            if self._running.index(victim) < index:
                # It has its page, which is free now.
                index -= 1
            self._put_back(victim)

    def _put_back(self, sequence: Sequence) -> None:
        # The sequence's pages stay in the prefix cache, so later it recomputes only pages that were reused meanwhile.
        self.remove(sequence)
        sequence.put_back()
        self._waiting.put_first(sequence.owner, sequence)

    def _admit(self) -> None:
        while self._waiting and (admission := self._next_admission()):
            sequence, victims = admission
            for victim in victims:
                self._put_back(victim)
            self._waiting.take(sequence.owner)
            sequence.passed = 0
            self._skip(sequence)
            self._cache.extend(sequence.pages, len(sequence.tokens))
            self._running.append(sequence)

    def _next_admission(self) -> tuple[Sequence, list[Sequence]] | None:
        """The sequence to admit next, and the running ones to put back for it; None if none is to be admitted.

        It is the first that fits, of the owner with the fewest rows. Those before it that do not fit are passed; one
        that has been passed too often comes before all others.
        """
        rows = _rows_of_owners(self._running)
        firsts = [self._waiting.first(owner) for owner in self._waiting.owners]
        firsts.sort(key=lambda each: (each.passed < _MOST_PASSES, rows[each.owner]))
        for index, sequence in enumerate(firsts[:_MOST_TRIED]):
            victims = self._victims(sequence)
            if victims is not None:
                for each in firsts[:index]:
                    each.passed += 1
                return sequence, victims
            if sequence.passed >= _MOST_PASSES:
                return None
        return None

    def _victims(self, sequence: Sequence) -> list[Sequence] | None:
        """The running sequences to put back so that this one fits; None if it does not fit whoever may be put back."""
        victims: list[Sequence] = []
        running = [*self._running]
        while not self._fits(sequence, victims):
            if not running:
                return None
            rows = _rows_of_owners(running)
            victim = _youngest(running, _greediest(running))
            # Only as long as the two owners come closer to equal shares.
            if rows[victim.owner] - victim.rows < rows[sequence.owner] + sequence.rows:
                return None
            running.remove(victim)
            victims.append(victim)
        return victims

    def _fits(self, sequence: Sequence, victims: Items[Sequence]) -> bool:
        """Whether the sequence could run once these running sequences were put back."""
        staying = [each for each in self._running if each not in victims]
        if sum(each.rows for each in staying) + sequence.rows > self._max_rows:
            return False
        released = self._cache.released(each.pages for each in victims)
        held = self._cache.held([page for page in self._found(sequence) if page not in released])
        # Leave one free page for each running sequence, or the new sequence would soon be put back.
        pages = pages_for(len(sequence.tokens)) + len(staying)
        return pages - held <= self._cache.free_pages + len(released)


def _rows_of_owners(running: Items[Sequence]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for each in running:
        rows[each.owner] += each.rows
    return rows


def _greediest(running: Items[Sequence]) -> str:
    """The owner with the most rows; of several, the one with the youngest sequence."""
    rows = _rows_of_owners(running)
    return max(reversed(running), key=lambda each: rows[each.owner]).owner


def _youngest(running: Items[Sequence], owner: str) -> Sequence:
    return next(each for each in reversed(running) if each.owner == owner)


def _by_turns(owners: Items[Items[Sequence]]) -> Iterator[Sequence]:
    """One sequence of each owner, then the next one of each, and so on."""
    for each in zip_longest(*owners):
        yield from (sequence for sequence in each if sequence is not None)


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Decides how many prompt tokens a step feeds: `tokens` at most, and fewer where they attend to many cached tokens.

    The unit of cost is one token at the start of a prompt.
    """

    tokens: int
    attention_tokens: int | None

    def chunks(self, prefilling: Iterable[Sequence]) -> list[ScheduledTokens]:
        """The next chunk of each prompt, in the given order, as far as one step's limits allow; at least one chunk."""
        chosen: list[ScheduledTokens] = []
        for sequence in prefilling:
            chunk = self._next(sequence)
            tokens = sum(each.tokens for each in chosen) + chunk.tokens
            cost = sum(map(self.cost, chosen)) + self.cost(chunk)
            if chosen and (tokens > self.tokens or cost > _DEEP_STEPS * self.tokens):
                break
            chosen.append(chunk)
        return chosen

    def is_cheap(self, sequence: Sequence) -> bool:
        """Whether the sequence's next chunk costs at most as much as a step's `tokens` without a context."""
        return self.cost(self._next(sequence)) <= self.tokens

    def cost(self, chunk: ScheduledTokens) -> float:
        """The cost of feeding these tokens, including that of reading the cached keys and values before them."""
        depth = self._depth(chunk.sequence.cached)
        return chunk.tokens * (1 + depth) + _FETCHING_TOKENS * depth

    def _next(self, sequence: Sequence) -> ScheduledTokens:
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
