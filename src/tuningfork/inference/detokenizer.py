"""Decodes token ids to text as they arrive, holding back characters that are not complete."""

from collections.abc import Callable, Sequence

_UNFINISHED = "\ufffd"
"""The character to which tokenizers decode bytes that do not form a character, or not yet."""

_MOST_INCOMPLETE_TOKENS = 32
"""The most tokens whose text is held back because it ends with U+FFFD. Then all of the text but the last U+FFFD is
returned, since the bytes will probably never form a character."""

_MOST_CUT_BYTES = 3
"""The most bytes that can be there of a character that is not complete. Tokenizers decode them to one U+FFFD, or to one
for each byte."""


class Detokenizer:
    """Decodes the tokens of one answer into text as they arrive.

    Decoding single tokens is wrong for most tokenizers: a kanji may be three tokens, and a space may belong to the word
    after it. So the newest tokens are decoded together with a few tokens before them, and only the text that they add
    is returned.

    Args:
        decode: the tokenizer's function that decodes a list of tokens, leaving out control tokens.
        lead: what the chat template writes before an answer (`ChatFormat.lead`); left out of the text.

    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, lead: str = "") -> None:
        self._decode = decode
        self._lead = _Lead(lead)
        self._context: list[int] = []
        self._context_length = 0
        self._fresh: list[int] = []
        self._shown = 0

    def push(self, token: int) -> str:
        """The text that this token completes; "" while a character is incomplete."""
        self._fresh.append(token)
        text = self._fresh_text()
        if text.endswith(_UNFINISHED):
            return self._show(text[:-1] if len(self._fresh) > _MOST_INCOMPLETE_TOKENS else text.rstrip(_UNFINISHED))
        shown = self._show(text)
        if text:
            # Only tokens with text become the context: a control token has none, and after it the tokenizer could not
            # decide whether a word begins with a space.
            self._context, self._fresh, self._shown = self._fresh, [], 0
            self._context_length = len(self._decode(self._context))
        return shown

    def finish(self, *, is_cut: bool = False) -> str:
        """The remaining text, once no more tokens come; bytes that do not form a character become U+FFFD.

        Args:
            is_cut: whether a limit ended the answer. Then the bytes of a character that the limit cut are left out.

        """
        text = self._fresh_text()
        if is_cut:
            cut = min(len(text) - len(text.rstrip(_UNFINISHED)), _MOST_CUT_BYTES)
            text = text[: len(text) - cut]
        return self._show(text) + self._lead.finish()

    def _fresh_text(self) -> str:
        return self._decode([*self._context, *self._fresh])[self._context_length :]

    def _show(self, text: str) -> str:
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return self._lead.strip(piece)


class TokenTexts:
    """The text of single tokens: control tokens by their names, incomplete characters as U+FFFD.

    Args:
        decode: the tokenizer's function that decodes a list of tokens, including control tokens.
        anchor: an ordinary token that is decoded before each token, so that the token keeps its leading space.

    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, anchor: int) -> None:
        self._decode = decode
        self._anchor = anchor
        self._before = decode([anchor])
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        if token not in self._known:
            whole = self._decode([self._anchor, token])
            is_behind = whole.startswith(self._before)
            self._known[token] = whole[len(self._before) :] if is_behind else self._decode([token])
        return self._known[token]


class _Lead:
    """Removes a given prefix from a text that arrives in pieces, if the text begins with it."""

    def __init__(self, lead: str) -> None:
        self._lead = lead
        self._held = ""

    def strip(self, piece: str) -> str:
        if not self._lead:
            return piece
        self._held += piece
        if len(self._held) < len(self._lead) and self._lead.startswith(self._held):
            return ""
        text, self._held = self._held.removeprefix(self._lead), ""
        self._lead = ""
        return text

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held
