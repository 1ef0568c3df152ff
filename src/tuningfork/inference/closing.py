"""Finds short completions of answers that have begun, so that an answer can be complete before its limit of tokens.

A completion is found by walking through the grammar: at each place the token is taken that closes something, else what
is forced, else a value of few tokens. Mostly this is a shortest completion; it is never one that the grammar forbids.

Shape suffixes: V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from llguidance import LLMatcher, LLTokenizer

_QUOTE, _BACKSLASH = 0x22, 0x5C
_SHORT = (
    # What ends a value comes before what may go on with it: a number can always have one more digit.
    *(b"}", b"]", b",", b":"),
    *(b"null", b"n", b'""', b"[]", b"{}", b"0", b"true", b"t", b"false", b"f"),
    *(b'"', b"[", b"{"),
)
"""What a completion takes outside of strings, the first that is allowed."""
_MOST_BYTES_A_TOKEN = 64
"""A walk ends without a result after so many bytes for each token that may be used."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in JSON an answer is: within a string, and there after a backslash. Texts that are not JSON have none."""

    in_string: bool = False
    is_escaped: bool = False

    def after(self, text: bytes) -> "Place":
        """The place after these further bytes."""
        in_string, is_escaped = self.in_string, self.is_escaped
        for byte in text:
            if is_escaped:
                is_escaped = False
            elif byte == _QUOTE:
                in_string = not in_string
            elif byte == _BACKSLASH:
                is_escaped = in_string
        return Place(in_string, is_escaped)


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
        # Longer tokens come first; blanks, which lead nowhere, and quotes, which may open a string, have 0.
        lengths = [0 if not text.strip() or _QUOTE in text or _BACKSLASH in text else len(text) for text in self._bytes]
        self._lengths_V = torch.tensor(lengths)
        exact = {text: token for token, text in reversed([*enumerate(self._bytes)]) if text in _SHORT}
        self._closing = [exact[text] for text in _SHORT if text in exact]
        self._quote = exact.get(b'"')

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token; control tokens have none."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def completion(self, matcher: LLMatcher, place: Place | None, most: int) -> list[int] | None:
        """Tokens that complete the answer; empty if it may end here.

        Args:
            matcher: the state of the answer; it is not changed.
            place: where the answer is in JSON; None: it is no JSON.
            most: how many tokens there may be.

        Returns:
            None if no completion of at most `most` tokens was found.

        """
        walk = matcher.deep_copy()
        tokens: list[int] = []
        size = 0
        while not walk.is_accepting():
            added = self._next(walk, place)
            if not added or walk.is_error():
                return None
            text = b"".join(map(self.bytes_of, added))
            place = place and place.after(text)
            tokens += added
            size += len(text)
            if size > _MOST_BYTES_A_TOKEN * most:
                return None
        tokens = self._shortened(matcher, tokens)
        return tokens if len(tokens) <= most else None

    def _next(self, walk: LLMatcher, place: Place | None) -> Sequence[int]:
        """Take the next tokens of a walk, at least one; none if nothing may follow."""
        if forced := walk.compute_ff_bytes():
            tokens: list[int] = self._tokenizer.tokenize_bytes(forced)
            if taken := walk.try_consume_tokens(tokens):
                return tokens[:taken]
        mask = walk.compute_bitmask()
        chosen = next((token for token in self._wanted(place) if mask[token >> 3] >> (token & 7) & 1), None)
        if chosen is None:
            chosen = self._longest(mask)
        return [chosen] if chosen is not None and walk.consume_token(chosen) else []

    def _wanted(self, place: Place | None) -> Iterator[int]:
        """The tokens to look for first at this place."""
        if place is None:
            return
        if not place.in_string:
            yield from self._closing
        elif self._quote is not None:
            yield self._quote

    def _longest(self, mask: bytes) -> int | None:
        """The longest token that is allowed and closes nothing; of blanks and escapes any; None: none is allowed."""
        words = torch.frombuffer(bytearray(mask), dtype=torch.uint8)
        allowed_V = ((words[:, None] >> torch.arange(8)) & 1).flatten()[: len(self._lengths_V)]
        best = int(((self._lengths_V + 1) * allowed_V).argmax())
        return best if allowed_V[best] else None

    def _shortened(self, matcher: LLMatcher, tokens: list[int]) -> list[int]:
        """The same bytes in fewer tokens, if the grammar takes these."""
        fewer: list[int] = self._tokenizer.tokenize_bytes(b"".join(map(self.bytes_of, tokens)))
        if len(fewer) >= len(tokens) or matcher.validate_tokens(fewer) < len(fewer):
            return tokens
        return fewer
