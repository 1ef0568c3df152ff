"""Decides what each step feeds to the model: a token of every sequence that decodes, and chunks of waiting prompts.

A long prompt is prefilled in chunks, one or more in each step (chunked prefill). A prefix that several prompts share is
prefilled once: one sequence computes its pages while the others wait for them. If the prefix cache still has the pages
of an earlier prompt, no sequence computes them again.
"""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Items
from itertools import zip_longest

from tuningfork.domain.owner_queue import OwnerQueue
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, pages_for
from tuningfork.inference.prefill import DECODE_SHARE, STEP_COST, Prefill, ScheduledTokens
from tuningfork.inference.prefix_index import PageKey
from tuningfork.inference.sequence import Sequence

_SHARED_PART = 4
"""While several owners run, a step reads one in so many of its usual prompt tokens; larger chunks are read apart."""

_MOST_PASSES = 16
"""How many sequences of other owners may be admitted before one that does not fit yet, while its owner has nothing
running; then they wait for it."""
_MOST_TRIED = 8
"""For how many owners' sequences one step looks whether they fit, since most of them do not while the cache is full."""


class Scheduler:
    """Gives owners equal shares of the rows, as far as they want them; of one owner's sequences the oldest come first.

    A sequence waits while the cache is full or all rows are taken. When a running sequence needs a page and none is
    free, the youngest running sequence of the owner with the most rows is put back into the queue. So it is, too, when
    an owner with fewer rows waits. A sequence that does not fit holds up its owner's others. Those of other owners it
    holds up only while its owner has nothing running, and after some have passed it, so that it fits one day.

    Args:
        cache: the pool that sequences take pages from.
        max_rows: the most sequences that run at once.
        prefill_tokens: the most prompt tokens that one step feeds, so that sequences that are decoding are not held up
            for long.
        attention_tokens: the number of cached tokens at which a prompt token's attention costs as much as the rest of
            its forward pass. Late in a long prompt, attention's cost lets a step feed fewer tokens. None: attention's
            cost is ignored.
        reads_apart: whether prompts whose next chunk is expensive are left out of steps, to be read in passes of their
            own; see `apart`.

    """

    def __init__(
        self,
        cache: KvCache,
        *,
        max_rows: int,
        prefill_tokens: int,
        attention_tokens: int | None = None,
        reads_apart: bool = False,
    ) -> None:
        self._cache = cache
        self._max_rows = max_rows
        self._reads_apart = reads_apart
        # The owners whose oldest prompt is read apart next; of others it is the one with the fewest tokens left.
        self._oldest_next: set[str] = set()
        self._prefill = Prefill(prefill_tokens, attention_tokens)
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

    @property
    def owners(self) -> set[str]:
        """The owners with running sequences."""
        return {each.owner for each in self._running}

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of its owner's queue."""
        self._waiting.append(sequence.owner, sequence)

    def schedule(self) -> list[ScheduledTokens]:
        """Decide how many tokens of which sequences the next step feeds, and reserve their pages.

        The result is empty only if there is no work, except what is read apart.
        """
        for sequence in self._running:
            self._keep(sequence)
        for sequence in self._running:
            if not sequence.reading:
                self._skip(sequence)
        self._make_room()
        self._admit()
        decoding = [ScheduledTokens(sequence, 1) for sequence in self._running if sequence.missing == 1]
        prefilling = self._choose_prefills(only_cheap=bool(decoding) and self._decode_budget > 0)
        if decoding and not self._reads_apart:
            self._update_decode_budget(decoding, prefilling)
        return decoding + prefilling

    def apart(self) -> dict[str, ScheduledTokens]:
        """Of each owner the chunk of a prompt that is read apart: the one that has been begun, or else the next one.

        To be called after `schedule`. Of an owner's prompts, the oldest comes first every second time, as in a step.
        """
        chosen = {each.owner: ScheduledTokens(each, each.reading) for each in self._running if each.reading}
        begun = {self._next_page_key(each.sequence) for each in chosen.values()} - {None}
        waiting: dict[str, list[Sequence]] = {}
        for sequence in self._running:
            if sequence.owner not in chosen and sequence.missing > 1 and not self._joins_step(sequence):
                waiting.setdefault(sequence.owner, []).append(sequence)
        self._oldest_next &= self.owners
        for owner, sequences in waiting.items():
            # One whose next page is being filled waits for the page.
            able = [each for each in sequences if self._next_page_key(each) not in begun]
            if able:
                first = able[0] if owner in self._oldest_next else min(able, key=lambda each: each.missing)
                chosen[owner] = self._prefill.next_chunk(first)
        return chosen

    def begin(self, chunk: ScheduledTokens) -> None:
        """Note that this chunk is being read apart. It ends with `Sequence.reading` 0: read, or given up."""
        chunk.sequence.reading = chunk.tokens
        self._oldest_next ^= {chunk.sequence.owner}

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
        sequence.reading = 0
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
        prefilling = [each for each in self._running if each.missing > 1 and self._joins_step(each)]
        if not only_cheap:
            self._oldest_first = not self._oldest_first
        of_owners: dict[str, list[Sequence]] = {}
        for sequence in prefilling:
            of_owners.setdefault(sequence.owner, []).append(sequence)
        ordered = [self._in_order(each, only_cheap=only_cheap) for each in self._readers(of_owners)]
        return self._prefill.chunks(self._without_duplicates([*_by_turns(ordered)]), most=self._most_tokens)

    @property
    def _most_tokens(self) -> int:
        """The most prompt tokens of a step; fewer while several owners run, so that nobody waits long for a step."""
        tokens = self._prefill.tokens
        return max(1, tokens // _SHARED_PART) if self._reads_apart and len(self.owners) > 1 else tokens

    def _joins_step(self, sequence: Sequence) -> bool:
        """Whether the sequence's next chunk is read in a step, with other rows."""
        if not self._reads_apart:
            return True
        return not sequence.reading and self._prefill.is_cheap(sequence, most=self._most_tokens)

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
            self._decode_budget = DECODE_SHARE * sum(map(self._prefill.cost, expensive))
        else:
            self._decode_budget -= STEP_COST + sum(map(self._prefill.cost, decoding))

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
        that has been passed too often, and whose owner has nothing running, comes before all others.
        """
        rows = _rows_of_owners(self._running)
        firsts = [self._waiting.first(owner) for owner in self._waiting.owners]
        overdue = {each for each in firsts if each.passed >= _MOST_PASSES and not rows[each.owner]}
        firsts.sort(key=lambda each: (each not in overdue, rows[each.owner]))
        for index, sequence in enumerate(firsts[:_MOST_TRIED]):
            victims = self._victims(sequence)
            if victims is not None:
                for each in firsts[:index]:
                    each.passed += not rows[each.owner]
                return sequence, victims
            if sequence in overdue:
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
