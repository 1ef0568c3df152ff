"""Writes and reads integers in notations: digits, thousands separators, English words, Roman, Japanese, ordinals.

Every notation is a pair of inverse functions over a closed range, and a list of bands: how often numbers of each
magnitude are drawn. English words follow one style: "two hundred one" (no "and", spaces instead of hyphens).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
_KANJI_DIGITS = "〇一二三四五六七八九"
_KANJI_SCALES = ((1000, "千"), (100, "百"), (10, "十"))
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def to_words(number: int) -> str:
    """Write an integer below a billion in English words."""
    if number < 0:
        return "minus " + to_words(-number)
    for scale, name in _SCALES:
        if number >= scale:
            head, rest = divmod(number, scale)
            return f"{to_words(head)} {name}" + (f" {to_words(rest)}" if rest else "")
    if number < len(_UNITS):
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens] + (f" {_UNITS[units]}" if units else "")


def from_words(text: str) -> int:
    """Read English words back; the inverse of `to_words`."""
    sign = -1 if text.startswith("minus ") else 1
    total = group = 0
    for word in text.removeprefix("minus ").split(" "):
        if word == "hundred":
            group *= 100
        elif word in ("thousand", "million"):
            total += group * (1000 if word == "thousand" else 10**6)
            group = 0
        elif word in _UNITS:
            group += _UNITS.index(word)
        else:
            group += 10 * _TENS.index(word)
    return sign * (total + group)


def to_roman(number: int) -> str:
    """Write 1..3999 as a Roman numeral."""
    letters: list[str] = []
    for value, symbol in _ROMAN:
        count, number = divmod(number, value)
        letters.append(symbol * count)
    return "".join(letters)


def from_roman(text: str) -> int:
    """Read a Roman numeral back; the inverse of `to_roman`."""
    number = position = 0
    for value, symbol in _ROMAN:
        while text.startswith(symbol, position):
            number += value
            position += len(symbol)
    if position != len(text):
        raise ValueError(f"not a Roman numeral: {text!r}")
    return number


def to_japanese(number: int) -> str:
    """Write 0..9999 in Japanese numerals: 21 is 二十一, 300 is 三百."""
    if number == 0:
        return _KANJI_DIGITS[0]
    characters: list[str] = []
    for scale, symbol in _KANJI_SCALES:
        count, number = divmod(number, scale)
        if count:
            characters.append((_KANJI_DIGITS[count] if count > 1 else "") + symbol)
    return "".join(characters) + (_KANJI_DIGITS[number] if number else "")


def from_japanese(text: str) -> int:
    """Read Japanese numerals back; the inverse of `to_japanese`."""
    scales = {symbol: scale for scale, symbol in _KANJI_SCALES}
    number = pending = 0
    for character in text:
        if character in scales:
            number += max(pending, 1) * scales[character]
            pending = 0
        else:
            pending = _KANJI_DIGITS.index(character)
    return number + pending


def to_thousands(number: int) -> str:
    """Write an integer with a comma between groups of three digits."""
    return f"{number:,}"


def from_thousands(text: str) -> int:
    """Read an integer with commas back; the inverse of `to_thousands`."""
    return int(text.replace(",", ""))


def to_ordinal(number: int) -> str:
    """Write an integer as a digit ordinal: 21st, 112th."""
    suffix = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def from_ordinal(text: str) -> int:
    """Read a digit ordinal back; the inverse of `to_ordinal`."""
    return int(text[:-2])


def to_ordinal_words(number: int) -> str:
    """Write an integer as an ordinal in words: twenty first, two hundredth."""
    *head, last = to_words(number).split(" ")
    if last in _IRREGULAR_ORDINALS:
        last = _IRREGULAR_ORDINALS[last]
    else:
        last = (last[:-1] + "ie" if last.endswith("y") else last) + "th"
    return " ".join([*head, last])


def from_ordinal_words(text: str) -> int:
    """Read an ordinal in words back; the inverse of `to_ordinal_words`."""
    *head, last = text.split(" ")
    regular = {ordinal: word for word, ordinal in _IRREGULAR_ORDINALS.items()}
    if last in regular:
        last = regular[last]
    else:
        last = last.removesuffix("th")
        last = last[:-2] + "y" if last.endswith("ie") else last
    return from_words(" ".join([*head, last]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Numbers from `low` to `high`, drawn with a relative `weight`."""

    low: int
    high: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """A way of writing the integers of a closed range; `write` and `read` are inverses."""

    name: str
    phrase: str
    weight: float
    write: Callable[[int], str]
    read: Callable[[str], int]
    bands: tuple[Band, ...]

    @property
    def low(self) -> int:
        """The smallest number this notation writes."""
        return min(band.low for band in self.bands)

    @property
    def high(self) -> int:
        """The largest number this notation writes."""
        return max(band.high for band in self.bands)

    def covers(self, number: int) -> bool:
        """Say whether this notation can write the number."""
        return self.low <= number <= self.high

    def draw(self, rng: random.Random) -> int:
        """Draw a number: a band by weight, then uniformly in it; one in four is next to a carry (199, 1,000, -100)."""
        band = rng.choices(self.bands, [band.weight for band in self.bands])[0]
        number = rng.randint(band.low, band.high)
        if rng.random() < CARRY_SHARE:
            number = _beside_a_carry(number, rng)
        return min(max(number, band.low), band.high)


CARRY_SHARE = 0.25


def _beside_a_carry(number: int, rng: random.Random) -> int:
    digits = len(str(abs(number)))
    step: int = 10 ** rng.randint(1, max(digits - 1, 1))
    return round(number / step) * step + rng.choice((-2, -1, -1, -1, 0, 0, 1))


def _bands(*triples: tuple[int, int, float]) -> tuple[Band, ...]:
    return tuple(Band(low=low, high=high, weight=weight) for low, high, weight in triples)


def _listed(name: str, phrase: str, members: tuple[str, ...], weight: float) -> Notation:
    return Notation(
        name=name,
        phrase=phrase,
        weight=weight,
        write=lambda number: members[number - 1],
        read=lambda text: 1 + members.index(text),
        bands=_bands((1, len(members), 1.0)),
    )


DIGITS = Notation(
    name="digits",
    phrase="digits",
    weight=4.0,
    write=str,
    read=int,
    bands=_bands(
        (0, 99, 1.0), (0, 999, 4.0), (1000, 99_999, 1.0), (0, 99_999_999, 0.5), (-99, -1, 1.0), (-99_999, -1, 1.5)
    ),
)
THOUSANDS = Notation(
    name="thousands",
    phrase="commas",
    weight=3.0,
    write=to_thousands,
    read=from_thousands,
    bands=_bands((1000, 9999, 2.0), (1000, 99_999, 3.0), (1000, 99_999_999, 1.5), (-99_999, -1000, 0.7)),
)
WORDS = Notation(
    name="words",
    phrase="words",
    weight=4.0,
    write=to_words,
    read=from_words,
    bands=_bands((0, 99, 2.0), (100, 999, 3.5), (1000, 9999, 0.5), (-99, -1, 0.4)),
)
ROMAN = Notation(
    name="roman",
    phrase="roman numerals",
    weight=3.0,
    write=to_roman,
    read=from_roman,
    bands=_bands((1, 101, 3.0), (1, 400, 1.0), (1, 3999, 0.7)),
)
JAPANESE = Notation(
    name="japanese",
    phrase="japanese",
    weight=2.5,
    write=to_japanese,
    read=from_japanese,
    bands=_bands((1, 100, 3.0), (1, 999, 1.0), (1, 9999, 0.5)),
)
ORDINALS = Notation(
    name="ordinals",
    phrase="ordinals",
    weight=1.0,
    write=to_ordinal,
    read=from_ordinal,
    bands=_bands((1, 99, 1.0), (1, 999, 1.0)),
)
ORDINAL_WORDS = Notation(
    name="ordinal words",
    phrase="ordinal words",
    weight=0.7,
    write=to_ordinal_words,
    read=from_ordinal_words,
    bands=_bands((1, 99, 1.0), (1, 999, 0.3)),
)
WEEKDAYS = _listed("weekdays", "weekdays", _WEEKDAYS, 0.4)
MONTHS = _listed("months", "months", _MONTHS, 0.4)
LETTERS = _listed("letters", "letters", tuple("abcdefghijklmnopqrstuvwxyz"), 0.4)

# Numbers are converted between these notations. The others are only used for counting.
NUMERALS = (DIGITS, THOUSANDS, WORDS, ROMAN, JAPANESE, ORDINALS, ORDINAL_WORDS)
NOTATIONS = (*NUMERALS, WEEKDAYS, MONTHS, LETTERS)


def draw_notation(rng: random.Random) -> Notation:
    """Draw a notation by weight."""
    return rng.choices(NOTATIONS, [notation.weight for notation in NOTATIONS])[0]
