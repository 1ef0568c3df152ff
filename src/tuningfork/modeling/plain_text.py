"""Encodes texts that people wrote, so that names of control tokens in them stay text."""

import re

from transformers import PreTrainedTokenizerBase

from tuningfork.domain.errors import InvalidArgument


class PlainText:
    """Encodes text to token ids, so that quoted texts never become control tokens. Thread-safe.

    Before the template is rendered, the name of each control token in a text is replaced by a mark: private-use
    characters around the token's number.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        # The longest first, since a token's text may begin with another token's text.
        self._literals = [*sorted(special, key=len, reverse=True), "\ue000", "\ue001"]
        self._numbers = {literal: number for number, literal in enumerate(self._literals)}
        self._found = re.compile("|".join(map(re.escape, self._literals)))
        self._mark = re.compile("\ue000([0-9]+)\ue001")
        # Computed in advance, since it changes a setting of the tokenizer, which other threads may use later.
        self._spelled = [self._ids(literal, split_special_tokens=True) for literal in self._literals]
        self._ids("a")

    def quote(self, text: str) -> str:
        """Replace the name of every control token, and every character that marks are made of, by a mark.

        Raises:
            InvalidArgument: the text has half of a surrogate pair, which JSON can express and UTF-8 cannot.

        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"the text is not Unicode: character {error.start} is {text[error.start]!a}, half a surrogate pair"
            ) from error
        return self._found.sub(lambda match: f"\ue000{self._numbers[match[0]]}\ue001", text)

    def unquote(self, text: str) -> str:
        """Undo `quote`: the original text."""
        return self._mark.sub(lambda match: self._literals[int(match[1])], text)

    def encode(self, text: str) -> list[int]:
        """The ids of a rendered text; each mark is encoded as the plain characters of its control token."""
        pieces = self._mark.split(text)
        ids = self._ids(pieces[0])
        for number, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            ids += self._spelled[int(number)] + self._ids(piece)
        return ids

    def _ids(self, text: str, **how: bool) -> list[int]:
        # With `verbose` the tokenizer would warn about texts longer than the context, which are refused elsewhere.
        encoded = self._tokenizer(text, add_special_tokens=False, verbose=False, **how)
        return list(encoded["input_ids"]) if text else []
