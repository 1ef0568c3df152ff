"""Splits a growing text into words, and gives each word in the forms that may be in a list.

The forms undo changes by which people hide words from such lists: compatibility and invisible characters, accents,
digits and signs instead of letters (`b0mb`), letters of other scripts that look Latin, repeated letters (`kiiill`) and
separated letters (`k.i.l.l`). Each character takes a bounded number of operations, and the result does not depend on
where the text is cut into pieces.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

LONGEST_WORD = 64
"""The most characters of a word. A longer word is cut, so that a text without spaces is not held back."""

SHORTEST_SPELLING, LONGEST_SPELLING = 3, 12
"""The fewest and the most separated letters that are joined to a word."""

_INVISIBLE = "\u00ad\u034f\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff"
_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u20d0-\u20f0"
_CIRCLED = "\u24b6-\u24e9"
_SIGNS = "@$!*"

_RUN = re.compile(rf"[\w{_SIGNS}{_INVISIBLE}{_MARKS}{_CIRCLED}]+")
_BETWEEN = re.compile(rf"[{_SIGNS}_]+")
_SEPARATORS = re.compile(r"[_*]+")
_UNSEEN = re.compile(rf"[{_INVISIBLE}]")
_END = re.compile(r"[.!?\u2026]")
_REPEATED = re.compile(r"(.)\1{2,}")
_FOREIGN = re.compile(r"[\u0370-\u03ff\u0400-\u04ff]")
_LATIN = re.compile(r"[a-z]")

# There are two tables, since 1 is written both for i and for l.
_LEET = tuple(str.maketrans("0134578@$!", f"o{one}eastbasi") for one in "il")
_LOOKALIKES = str.maketrans("авеёкмнорстухіјѕԁɡαβεικνορτυχ", "abeekmhopctyxijsdgabeikvoptux")


class Form(NamedTuple):
    """One form of a word. `letters` is how many separated letters it joins; 1: the word is not joined from letters."""

    text: str
    letters: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a text. `begin` is its position in characters; `breaks`: a sentence ended before it."""

    forms: tuple[Form, ...]
    begin: int
    breaks: bool


class Words:
    """Splits a text that arrives in pieces. A word is returned once the character after it is known."""

    def __init__(self) -> None:
        self._pending = ""
        self._offset = 0
        # The characters since the last word: how many, and whether they end a sentence or a line.
        self._gap, self._ended, self._line_ended = 0, False, False
        # The last separated letters, and the position of the first.
        self._spelled, self._spelled_begin = "", 0

    @property
    def open_from(self) -> int:
        """The position from which the text may still become a word, or a word of separated letters."""
        if not self._spelled:
            return self._offset
        return max(self._spelled_begin, self._offset - 2 * LONGEST_SPELLING)

    def add(self, text: str, *, last: bool) -> Iterator[Word]:
        """Append a piece and yield the words that are now complete; with `last`, all remaining words."""
        text = self._pending + text
        at = 0
        for run in _RUN.finditer(text):
            self._between(text[at : run.start()])
            at = run.start()
            while run.end() - at > LONGEST_WORD or (at < run.end() and (last or run.end() < len(text))):
                end = min(at + LONGEST_WORD, run.end())
                yield from self._words(text[at:end], self._offset)
                self._offset += end - at
                at = end
        rest = text[at:]
        if rest and _RUN.match(rest) is None:
            self._between(rest)
            rest = ""
        self._pending = rest

    def _between(self, text: str) -> None:
        self._offset += len(text)
        self._separate(text)

    def _separate(self, text: str) -> None:
        self._gap += len(text)
        self._ended = self._ended or _END.search(text) is not None
        self._line_ended = self._line_ended or "\n" in text

    def _words(self, run: str, begin: int) -> Iterator[Word]:
        readings = [forms for piece in _BETWEEN.split(run) if (forms := _forms(piece))]
        if not readings:
            self._separate(run)
            return
        if _BETWEEN.search(run):
            # Signs may separate words or replace letters, so the last word is also read with its signs.
            whole = _forms(_SEPARATORS.sub("", run).rstrip("!"))
            readings[-1] = tuple(dict.fromkeys((*readings[-1], *whole)))
        for forms in readings:
            yield self._word(forms, begin)
        if run.endswith("!"):
            self._separate("!")

    def _word(self, forms: tuple[Form, ...], begin: int) -> Word:
        letter = forms[0].text
        if len(letter) > 1 or not letter.isalpha() or self._gap > 1:
            self._spelled = ""
        if len(letter) == 1 and letter.isalpha():
            if not self._spelled:
                self._spelled_begin = begin
            self._spelled = (self._spelled + letter)[-LONGEST_SPELLING:]
            lengths = range(SHORTEST_SPELLING, len(self._spelled) + 1)
            forms += tuple(Form(self._spelled[-length:], length) for length in lengths)
        # A sign ends a sentence only before a space, unlike in `b.o.m.b`.
        word = Word(forms=forms, begin=begin, breaks=self._line_ended or (self._ended and self._gap > 1))
        self._gap, self._ended, self._line_ended = 0, False, False
        return word


def normal_form(text: str) -> tuple[str, ...]:
    """The words of a listed term, in the form that is first among those of `Words`."""
    return tuple(word.forms[0].text for word in Words().add(text, last=True))


def _forms(piece: str) -> tuple[Form, ...]:
    """The forms of a word; the first is the word itself in its normal form."""
    if piece.isascii() and piece.isalpha():
        readings = [piece.lower()]
    else:
        folded = unicodedata.normalize("NFKC", _UNSEEN.sub("", piece)).casefold()
        plain = "".join(mark for mark in unicodedata.normalize("NFD", folded) if not unicodedata.combining(mark))
        if _FOREIGN.search(plain) and _LATIN.search(plain):
            plain = plain.translate(_LOOKALIKES)
        readings = [folded, plain]
        if _LATIN.search(plain):
            readings += [plain.translate(table) for table in _LEET]
    for reading in readings[:]:
        if _REPEATED.search(reading):
            readings += [_REPEATED.sub(r"\1", reading), _REPEATED.sub(r"\1\1", reading)]
    return tuple(Form(reading) for reading in dict.fromkeys(readings) if reading)
