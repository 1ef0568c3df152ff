"""How good an answer is, compared with the expected one: six measures, each from 0 to 1.

All are computed here, without a library: those that count words of English (lower case, ASCII letters) are wrong for
Turkish, Hindi or Chinese; see docs/adr/0045-evaluations-ask-models-and-count.md.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

_MINUS_SIGNS = frozenset("-\N{MINUS SIGN}")


class Measure(StrEnum):
    """What is measured of an answer."""

    EXACT_MATCH = "EXACT_MATCH"
    """1: the answer is the expected one, character by character."""
    NORMALIZED_MATCH = "NORMALIZED_MATCH"
    """1: both have the same words, whatever their case, punctuation and white space."""
    ROUGE_L = "ROUGE_L"
    """The F-measure of the longest common subsequence of words (Lin 2004, section 3.1, with beta 1)."""
    TOKEN_F1 = "TOKEN_F1"  # noqa: S105 - a measure of words
    """The F-measure of the words that both have, in any order (Rajpurkar et al. 2016, section 6.1)."""
    STOP_RATE = "STOP_RATE"
    """1: the model ended its answer, before its limit of tokens."""
    VALID_JSON = "VALID_JSON"
    """1: the answer is one JSON value."""

    @property
    def compares(self) -> bool:
        """Whether it compares the answer with the expected one."""
        return self not in (Measure.STOP_RATE, Measure.VALID_JSON)


def scores_of(expected: str, answer: str, *, stopped: bool) -> Mapping[Measure, float]:
    """Every measure of one answer. `stopped`: the model ended the answer, before its limit of tokens."""
    wanted, given = words_of(expected), words_of(answer)
    # Two texts of signs alone have no words.
    same_words = wanted == given if wanted or given else expected.strip() == answer.strip()
    return {
        Measure.EXACT_MATCH: float(expected == answer),
        Measure.NORMALIZED_MATCH: float(same_words),
        Measure.ROUGE_L: float(same_words) if same_words else _f_measure(common_length(wanted, given), wanted, given),
        Measure.TOKEN_F1: float(same_words) if same_words else _f_measure(_shared(wanted, given), wanted, given),
        Measure.STOP_RATE: float(stopped),
        Measure.VALID_JSON: float(is_json(answer)),
    }


def words_of(text: str) -> list[str]:
    """The words of a text, case-folded and in Unicode's form NFKC.

    A word is a run of letters, marks and digits. Each character of a script that writes no spaces (Chinese, Japanese,
    Thai) is a word. Punctuation is none; a sign of mathematics or of a currency is one, and the minus before a number
    belongs to the number.
    """
    return list(_words(unicodedata.normalize("NFKC", text).casefold()))


def _words(text: str) -> Iterator[str]:
    word = ""
    for at, character in enumerate(text):
        kind = unicodedata.category(character)
        if _is_unspaced(character):
            yield from (word, character) if word else (character,)
            word = ""
        elif kind[0] in "LNM":
            word += character
        else:
            if word:
                yield word
            is_minus = character in _MINUS_SIGNS and text[at + 1 : at + 2].isdigit() and not text[at - 1 : at].isalnum()
            word = "-" if is_minus else ""
            if kind in ("Sm", "Sc") and not is_minus:
                yield character
    if word:
        yield word


_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # CJK ideographs, extension A
    (0x4E00, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x3FFFF),  # further CJK ideographs
)
_FIRST_UNSPACED = _UNSPACED[0][0]


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return code >= _FIRST_UNSPACED and any(first <= code <= last for first, last in _UNSPACED)


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """How many words the longest common subsequence of two texts has.

    One integer has a bit for each word of `first`; each word of `second` takes one addition and a few logical
    operations on it (Hyyrö 2004, "Bit-parallel LCS-length computation revisited", figure 2), so that two texts of a
    thousand words take about a millisecond.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << index
    whole = (1 << len(first)) - 1
    left = whole
    for word in second:
        met = left & places.get(word, 0)
        left = ((left + met) | (left - met)) & whole
    return len(first) - left.bit_count()


def is_json(text: str) -> bool:
    """Whether a text is one JSON value by RFC 8259, which has neither NaN nor Infinity."""
    try:
        json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return False
    return True


def _refused(name: str) -> None:
    raise ValueError(name)


def _shared(wanted: Sequence[str], given: Sequence[str]) -> int:
    return (Counter(wanted) & Counter(given)).total()


def _f_measure(common: int, wanted: Sequence[str], given: Sequence[str]) -> float:
    """The harmonic mean of precision and recall, which is twice what is common over the sum of both lengths."""
    return 2 * common / (len(wanted) + len(given)) if common else 0.0
