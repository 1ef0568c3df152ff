"""Finds short completions of answers that have begun, so that an answer can be complete before its limit of tokens.

A completion is found by walking through the grammar: at each place the token is taken that closes something, else what
is forced, else a value of few tokens. Mostly this is a shortest completion; it is never one that the grammar forbids.
A walk is short, since the generator waits for it. It finds no completion where that would take many steps.

Shape suffixes: V vocabulary.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import nsmallest

import numpy as np
from llguidance import LLMatcher, LLTokenizer

_QUOTE, _BACKSLASH = 0x22, 0x5C
_SHORT = (
    # What ends a value comes before what may go on with it: a number can always have one more digit.
    *(b"}", b"]", b",", b":"),
    *(b"null", b"n", b'""', b"[]", b"{}", b"0", b"true", b"t", b"false", b"f"),
    *(b'"', b"[", b"{"),
)
"""What a completion takes outside of strings, the first that is allowed."""
_SEPARATORS = b"@.:/-"
"""What forms like e-mail addresses want between letters."""
_LONGEST_BYTES = 254
"""Tokens of more bytes count as tokens of so many."""
_PATIENCE = 3
"""After so many tokens in a string that does not end, separators are tried."""
_TEXTS, _TEXT_BYTES = 32, 2_048
"""So many known texts, and of so many bytes together, are tried at one place."""
_BEGINNINGS, _ENDINGS = 256, 4_096
"""For so many beginnings it is remembered which texts go on, and of so many endings the tokens: walks meet the same
ones again and again."""
_BEYOND_UTF_8 = b"\xff"
_FORCED_BYTES, _FORCED_BYTES_A_STEP = 8_192, 64
"""A walk ends where more bytes than these are forced at once. Reading so many costs a step."""
MOST_TOKENS = 2_048
"""A completion has at most so many tokens. Each takes about a microsecond whenever an answer leaves the known one."""
_COSTS_OF_A_SEARCH = 4
"""A search through the whole vocabulary, or through the known texts, costs as much as so many steps of a walk."""
STEPS = 128
"""How many steps a walk takes at most. One takes 10 to 40 microseconds of one core."""
FIRST_STEPS = 2_048
"""How many steps a walk from the beginning of an answer takes at most, which is made once for each format."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is.

    Attributes:
        in_string: whether it is within a string of JSON.
        is_escaped: whether it is there after a backslash.
        is_json: whether the answer is JSON at all.
        begun: the bytes since the string's opening quote, that quote included; all bytes of an answer that is no JSON.

    """

    in_string: bool = False
    is_escaped: bool = False
    is_json: bool = True
    begun: bytes = field(default=b"", compare=False)

    def after(self, text: bytes) -> "Place":
        """The place after these further bytes."""
        if not self.is_json:
            return replace(self, begun=self.begun + text)
        in_string, is_escaped, begins = self.in_string, self.is_escaped, None
        for index, byte in enumerate(text):
            if is_escaped:
                is_escaped = False
            elif byte == _QUOTE:
                in_string = not in_string
                begins = index
            elif byte == _BACKSLASH:
                is_escaped = in_string
        begun = self.begun + text if begins is None else text[begins:]
        return Place(in_string, is_escaped, begun=begun if in_string else b"")


class KnownTexts:
    """What strings of an answer may be, with their quotes; for an answer that is no JSON: what the answer may be.

    Args:
        texts: UTF-8, each of them once.

    """

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self._sorted = sorted(texts)
        self._remembered = lru_cache(_BEGINNINGS)(self._beginning)

    def __len__(self) -> int:
        return len(self._sorted)

    def beginning(self, begun: bytes) -> Sequence[bytes]:
        """The texts that go on after these bytes, the shortest first, `_TEXTS` at most."""
        return self._remembered(begun)

    def _beginning(self, begun: bytes) -> Sequence[bytes]:
        first = bisect_left(self._sorted, begun)
        last = bisect_left(self._sorted, begun + _BEYOND_UTF_8, lo=first)
        if first < last and self._sorted[first] == begun:
            first += 1
        return nsmallest(_TEXTS, self._sorted[first:last], key=lambda text: (len(text), text))


class Closer:
    """Completes answers of one vocabulary.

    Args:
        tokenizer: the compiler's view of the vocabulary.
        size: the number of tokens `V`.
        ends: the tokens that end a turn.

    """

    def __init__(self, tokenizer: LLTokenizer, size: int, ends: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self.end = min(ends)
        self._bytes = [
            b"" if tokenizer.is_special_token(token) else tokenizer.decode_bytes([token]) for token in range(size)
        ]
        # Longer tokens come first; blanks, which lead nowhere, and quotes, which may open a string, come last.
        lengths = [0 if not text.strip() or _QUOTE in text or _BACKSLASH in text else len(text) for text in self._bytes]
        self._ranks_V = np.array([1 + min(length, _LONGEST_BYTES) for length in lengths], dtype=np.uint8)
        separators = [bytes([byte]) for byte in _SEPARATORS]
        exact = {
            text: token for token, text in reversed([*enumerate(self._bytes)]) if text in _SHORT or text in separators
        }
        self._closing = [exact[text] for text in _SHORT if text in exact]
        self._separators = [exact[text] for text in separators if text in exact]
        self._quote = exact.get(b'"')
        self._tokens_of = lru_cache(_ENDINGS)(tokenizer.tokenize_bytes)

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token; control tokens have none."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def completion(
        self, matcher: LLMatcher, place: Place, texts: KnownTexts | None = None, *, steps: int = STEPS
    ) -> list[int] | None:
        """Tokens that complete the answer; empty if it may end here.

        Args:
            matcher: the state of the answer; it is not changed.
            place: where the answer is.
            texts: what strings of the answer may be; None: nothing is known of them.
            steps: how many steps the walk takes at most.

        Returns:
            None if no completion was found.

        """
        walk, texts = matcher.deep_copy(), texts or _NO_TEXTS
        tokens: list[int] = []
        in_vain = 0
        while not walk.is_accepting():
            added, cost = self._next(walk, place, texts, in_vain)
            steps -= cost
            if not added or walk.is_error() or steps < 0 or len(tokens) > MOST_TOKENS:
                return None
            place = place.after(b"".join(map(self.bytes_of, added)))
            tokens += added
            in_vain = in_vain + 1 if place.in_string else 0
        return self._shortened(matcher, tokens)

    def still_completes(self, matcher: LLMatcher, known: Sequence[int]) -> list[int] | None:
        """What of a completion that is known from before the last token completes the answer after it; None: nothing.

        The last token may have taken the place of none, one or two of its tokens.
        """
        for skipped in range(min(2, len(known)), -1, -1):
            walk, rest = matcher.deep_copy(), list(known[skipped:])
            if walk.try_consume_tokens(rest) == len(rest) and walk.is_accepting():
                return rest
        return None

    def _next(self, walk: LLMatcher, place: Place, texts: KnownTexts, in_vain: int) -> tuple[Sequence[int], int]:
        """Take the next tokens of a walk; none if nothing may follow.

        Args:
            walk: the state of the walk.
            place: where it is.
            texts: as in `completion`.
            in_vain: how many times it went on within this string.

        Returns:
            The tokens, and how many steps they cost.

        """
        if forced := walk.compute_ff_bytes():
            if len(forced) > _FORCED_BYTES:
                return [], 1
            tokens: list[int] = self._tokenizer.tokenize_bytes(forced)
            if taken := walk.try_consume_tokens(tokens):
                return tokens[:taken], 1 + len(forced) // _FORCED_BYTES_A_STEP
        mask = walk.compute_bitmask()
        chosen = next((token for token in self._wanted(place, in_vain) if _allows(mask, token)), None)
        cost = 1
        if chosen is None:
            cost += _COSTS_OF_A_SEARCH
            if known := self._known(walk, place, texts, mask):
                return known, cost
            chosen = self._longest(mask)
        return [chosen] if chosen is not None and walk.consume_token(chosen) else [], cost

    def _wanted(self, place: Place, in_vain: int) -> Iterator[int]:
        """The tokens to look for first at this place."""
        if not place.is_json:
            return
        if not place.in_string:
            yield from self._closing
            return
        if self._quote is not None:
            yield self._quote
        if in_vain > _PATIENCE:
            yield from (token for token in self._separators if self._bytes[token] not in place.begun)

    def _known(self, walk: LLMatcher, place: Place, texts: KnownTexts, mask: bytes) -> list[int]:
        """Take the rest of a known text that begins as the answer does here, in the fewest tokens; [] if none fits.

        `mask`: the tokens that may follow. Most texts that belong elsewhere in the answer begin with another token.
        """
        if place.is_json and not place.in_string:
            return []
        begun, size, ways = place.begun, 0, []
        for text in texts.beginning(begun):
            size += len(text) - len(begun)
            if size > _TEXT_BYTES:
                break
            tokens = self._tokens_of(text[len(begun) :])
            if tokens and _allows(mask, tokens[0]):
                ways.append(tokens)
        for tokens in sorted(ways, key=len):
            if walk.validate_tokens(tokens) == len(tokens):
                walk.consume_tokens(tokens)
                return tokens
        return []

    def _longest(self, mask: bytes) -> int | None:
        """The longest token that is allowed and closes nothing; of blanks and escapes any; None: none is allowed."""
        allowed_V = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little")[: len(self._ranks_V)]
        best = int((self._ranks_V * allowed_V).argmax())
        return best if allowed_V[best] else None

    def _shortened(self, matcher: LLMatcher, tokens: list[int]) -> list[int]:
        """The same bytes in fewer tokens, if the grammar takes these."""
        fewer: list[int] = self._tokenizer.tokenize_bytes(b"".join(map(self.bytes_of, tokens)))
        if len(fewer) >= len(tokens) or matcher.validate_tokens(fewer) < len(fewer):
            return tokens
        return fewer


_NO_TEXTS = KnownTexts()


def _allows(mask: bytes, token: int) -> bool:
    return bool(mask[token >> 3] >> (token & 7) & 1)
