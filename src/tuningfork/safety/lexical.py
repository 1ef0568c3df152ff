"""The lexical rater: searches texts for listed words and phrases, and for groups of them that are close together.

It does not understand texts. It is fast, needs no model, and rates a growing text piece by piece; the result does not
depend on where the text is cut. docs/safety.md has measurements of what it finds and what it misses.
"""

import asyncio
from collections import deque
from collections.abc import Iterator

from tuningfork.domain.rater import Passage
from tuningfork.domain.safety import Assessment, HarmCategory, HarmProbability
from tuningfork.safety.base import PartialAssessment
from tuningfork.safety.lexicon import Group, Lexicon, Node, Rule, load_lexicon
from tuningfork.safety.words import LONGEST_SPELLING, Form, Word, Words

SENTENCE_WORDS = 4
"""The end of a sentence counts as this many words in the distance between two words."""

NEIGHBOURHOOD_WORDS = 40
"""The points of rules are added up within this many words, so that a long text is not worse than its worst passage."""

UNLESS_WORDS = 4
"""A word that cancels a rule may be at least this many words before, even if the rule's terms must be closer."""

LOW_POINTS, MEDIUM_POINTS, HIGH_POINTS = 1, 2, 4

_LONG_TEXT = 4_000
"""A text with at least this many characters is rated in a thread, since it takes milliseconds."""

_OpenTerm = tuple[Node, int]
"""A term of which the first words have been found: its node in the tree, and the position of its first word."""


class LexicalRater:
    """Implements `safety.base.SafetyRater` with lists of terms; None: those that come with the package."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = lexicon or load_lexicon()

    async def rate(self, passage: Passage, *, owner: str = "") -> Assessment:  # noqa: ARG002 - nobody waits for it
        """See `SafetyRater.rate`."""
        if len(passage.text) < _LONG_TEXT:
            return self.assess(passage.text)
        return await asyncio.to_thread(self.assess, passage.text)

    def follow(self, asked: str, *, owner: str = "") -> "LexicalFollower":  # noqa: ARG002 - neither matters here
        """See `SafetyRater.follow`."""
        return LexicalFollower(self._lexicon)

    def assess(self, text: str) -> Assessment:
        """The assessment of this text."""
        return LexicalFollower(self._lexicon).read(text, last=True).assessment


class LexicalFollower:
    """Implements `safety.base.Follower`. It holds back text that may become a listed word or phrase."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._words = Words()
        self._length = 0
        self._position = 0
        # The unfinished terms before each of the last words, the newest last.
        self._open: deque[list[_OpenTerm]] = deque([[]], maxlen=LONGEST_SPELLING)
        self._seen: dict[Group, int] = {}
        self._tallies = {category: _Tally() for category in HarmCategory}

    async def add(self, text: str, *, last: bool) -> PartialAssessment:
        """See `Follower.add`."""
        return self.read(text, last=last)

    def read(self, text: str, *, last: bool) -> PartialAssessment:
        """Like `add`, without an event loop."""
        self._length += len(text)
        for word in self._words.add(text, last=last):
            self._read_word(word)
        open_from = min([self._words.open_from, *(begin for node, begin in self._open[-1] if node.tells)])
        assessment = Assessment.of({category: tally.worst for category, tally in self._tallies.items()})
        return PartialAssessment(assessment=assessment, held=0 if last else self._length - open_from)

    def _read_word(self, word: Word) -> None:
        self._position += 1 + SENTENCE_WORDS * word.breaks
        reached: dict[int, _OpenTerm] = {}
        for form in word.forms:
            for node, begin in self._before(form, word):
                for after in node.after(form.text):
                    reached[id(after)] = (after, begin)
        self._open.append(list(reached.values()))
        for node, _ in reached.values():
            for group in node.groups:
                self._find(group, self._position)

    def _before(self, form: Form, word: Word) -> Iterator[_OpenTerm]:
        """The unfinished terms that a form of a word may continue, and the start of a new term."""
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
    """The points of one category. Each rule counts once within `NEIGHBOURHOOD_WORDS`."""

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
