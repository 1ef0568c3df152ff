"""Token ids to text as they come, never showing half a character."""

from collections.abc import Callable, Sequence

_UNFINISHED = "\ufffd"
"""What tokenizers decode bytes to that are no character, or not yet one."""

_PATIENCE = 32
"""After this many tokens without a whole character, all but the last character is shown as it is."""


class Detokenizer:
    """Turns the tokens of one answer into text, piece by piece.

    Decoding single tokens is wrong for most tokenizers: a kanji may be three tokens, and a space may belong to the word
    behind it. So the newest tokens are decoded after those before them, and what is new is shown.

    Args:
        decode: the tokenizer's own decoding of a run of tokens, without control tokens.
        lead: what the model was taught to write before its answer (`ChatFormat.lead`); left out of the text.

    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, lead: str = "") -> None:
        self._decode = decode
        self._lead = _Lead(lead)
        self._context: list[int] = []
        self._context_length = 0
        self._fresh: list[int] = []
        self._shown = 0

    def push(self, token: int) -> str:
        """The text that this token adds for certain; "" while a character is unfinished."""
        self._fresh.append(token)
        text = self._fresh_text()
        if text.endswith(_UNFINISHED):
            return self._show(text[:-1] if len(self._fresh) > _PATIENCE else text.rstrip(_UNFINISHED))
        shown = self._show(text)
        if text:
            # Control tokens alone are no text; as context they would say nothing of spaces.
            self._context, self._fresh, self._shown = self._fresh, [], 0
            self._context_length = len(self._decode(self._context))
        return shown

    def finish(self) -> str:
        """The rest, when no more tokens come; bytes that never became a character appear as U+FFFD."""
        return self._show(self._fresh_text()) + self._lead.finish()

    def _fresh_text(self) -> str:
        return self._decode([*self._context, *self._fresh])[self._context_length :]

    def _show(self, text: str) -> str:
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return self._lead.strip(piece)


class TokenTexts:
    """What single tokens write, control tokens by their names; half a character is U+FFFD.

    Args:
        decode: the tokenizer's own decoding of a run of tokens, with control tokens.
        anchor: an ordinary token; decoded behind it, a token keeps the space that it begins with.

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
    """Takes a given beginning off a text that comes in pieces, if the text does begin so."""

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
