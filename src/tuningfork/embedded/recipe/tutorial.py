"""What the tutorial claims of the embedded model: kinds of held-out questions, and the least share of right answers."""

import random
from dataclasses import dataclass

from tuningfork.embedded.recipe.notations import DIGITS, JAPANESE, ROMAN, THOUSANDS, WORDS, Notation
from tuningfork.embedded.recipe.tasks import Subject, numeral
from tuningfork.tutorial import EXAMPLES


def subjects() -> list[Subject]:
    """The examples' inputs, read as numbers."""
    return [_read(text) for text, _ in EXAMPLES]


def _read(text: str) -> Subject:
    notation = WORDS if text[0].isalpha() else THOUSANDS if "," in text else DIGITS
    return numeral(notation, notation.read(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A notation and range to ask about, and the share of answers that must be right."""

    name: str
    notation: Notation
    low: int
    high: int
    target: float

    def held_out(self, count: int, seed: int) -> list[int]:
        """Draw `count` different numbers that are not among the examples' inputs (all there are, if fewer)."""
        seen = {text for text, _ in EXAMPLES}
        numbers = [number for number in range(self.low, self.high + 1) if self.notation.write(number) not in seen]
        return random.Random(seed).sample(numbers, min(count, len(numbers)))


CATEGORIES = (
    Category(name="digits 0..999", notation=DIGITS, low=0, high=999, target=0.95),
    Category(name="negatives -999..-1", notation=DIGITS, low=-999, high=-1, target=0.95),
    Category(name="thousands 1,000..99,999", notation=THOUSANDS, low=1000, high=99_999, target=0.95),
    Category(name="words 0..999", notation=WORDS, low=0, high=999, target=0.95),
    Category(name="Roman 1..100", notation=ROMAN, low=1, high=100, target=0.90),
    Category(name="Japanese 1..99", notation=JAPANESE, low=1, high=99, target=0.90),
)
