"""The lexical rater: looks for listed words and phrases, and for groups of them that stand close together.

It understands nothing. It is quick, runs anywhere, judges a growing text piece by piece, and says the same of a text
however it was cut. What it finds and misses is measured in docs/safety.md.
"""

import asyncio
from collections import deque
from collections.abc import Iterator

from tuningfork.domain.rater import Passage
from tuningfork.domain.safety import Assessment, HarmCategory, HarmProbability
from tuningfork.safety.base import Verdict
from tuningfork.safety.lexicon import Group, Lexicon, Node, Rule, load_lexicon
from tuningfork.safety.words import LONGEST_SPELLING, Form, Word, Words

SENTENCE_WORDS = 4
"""The end of a sentence sets words apart as so many words would."""

NEIGHBOURHOOD_WORDS = 40
"""Findings add up as far as this; so a long text is not worse than its worst passage."""

UNLESS_WORDS = 4
"""What takes a rule back may stand at least so many words before, however close its terms have to be."""

LOW_POINTS, MEDIUM_POINTS, HIGH_POINTS = 1, 2, 4

_LONG_TEXT = 4_000
"""Characters from which on a text is rated in a thread: it is milliseconds of work, and others should not wait."""

_Place = tuple[Node, int]
"""How far a term has been met, and where in the text it began."""


class LexicalRater:
    """Implements `safety.base.SafetyRater` with the lists that come with the package."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = lexicon or load_lexicon()

    async def rate(self, passage: Passage) -> Assessment:
        """See `SafetyRater.rate`."""
        if len(passage.text) < _LONG_TEXT:
            return self.assess(passage.text)
        return await asyncio.to_thread(self.assess, passage.text)

    def follow(self, asked: str) -> "LexicalFollower":  # noqa: ARG002 - words are words, whatever they answer
        """See `SafetyRater.follow`."""
        return LexicalFollower(self._lexicon)

    def assess(self, text: str) -> Assessment:
        """What this text is."""
        return LexicalFollower(self._lexicon).read(text, last=True).assessment


class LexicalFollower:
    """Implements `safety.base.Follower`. What is held is what may still become a listed word or phrase."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._words = Words()
        self._length = 0
        self._position = 0
        # The places that were open before each of the last words, the newest last.
        self._open: deque[list[_Place]] = deque([[]], maxlen=LONGEST_SPELLING)
        self._seen: dict[Group, int] = {}
        self._tallies = {category: _Tally() for category in HarmCategory}

    async def add(self, text: str, *, last: bool) -> Verdict:
        """See `Follower.add`."""
        return self.read(text, last=last)

    def read(self, text: str, *, last: bool) -> Verdict:
        """The same, without an event loop."""
        self._length += len(text)
        for word in self._words.add(text, last=last):
            self._read_word(word)
        open_from = min([self._words.open_from, *(begin for node, begin in self._open[-1] if node.tells)])
        assessment = Assessment.of({category: tally.worst for category, tally in self._tallies.items()})
        return Verdict(assessment=assessment, held=0 if last else self._length - open_from)

    def _read_word(self, word: Word) -> None:
        self._position += 1 + SENTENCE_WORDS * word.breaks
        reached: dict[int, _Place] = {}
        for form in word.forms:
            for node, begin in self._before(form, word):
                for after in node.after(form.text):
                    reached[id(after)] = (after, begin)
        self._open.append(list(reached.values()))
        for node, _ in reached.values():
            for group in node.groups:
                self._find(group, self._position)

    def _before(self, form: Form, word: Word) -> Iterator[_Place]:
        """The places from which a form may go on, and the start of a new term."""
        yield self._lexicon.root, word.begin
        if form.letters <= len(self._open):
            yield from self._open[-form.letters]

    def _find(self, group: Group, position: int) -> None:
        self._seen[group] = position
        for rule in self._lexicon.rules.get(group, ()):
            if all(self._is_near(other, rule.within) for other in rule.groups) and not any(
                self._is_near(other, max(rule.within, UNLESS_WORDS)) for other in rule.unless
            ):
                self._tallies[rule.category].add(rule, position)

    def _is_near(self, group: Group, words: int) -> bool:
        position = self._seen.get(group)
        return position is not None and self._position - position <= words


class _Tally:
    """The points of one category: each rule counts once in a neighbourhood."""

    def __init__(self) -> None:
        self.worst = HarmProbability.NEGLIGIBLE
        self._fired: dict[int, tuple[int, int]] = {}

    def add(self, rule: Rule, position: int) -> None:
        self._fired[rule.number] = (position, rule.points)
        points = sum(p for at, p in self._fired.values() if position - at <= NEIGHBOURHOOD_WORDS)
        self.worst = max(self.worst, _probability(points), key=lambda each: each.rank)


def _probability(points: int) -> HarmProbability:
    if points >= HIGH_POINTS:
        return HarmProbability.HIGH
    if points >= MEDIUM_POINTS:
        return HarmProbability.MEDIUM
    return HarmProbability.LOW if points >= LOW_POINTS else HarmProbability.NEGLIGIBLE
