"""How good answers are: shares between 0 and 1, of answers beside what was expected.

ROUGE-L is written out here: it is two dozen lines, and the usual package brings a stemmer and an array library with it.
It counts lower-case words of letters and digits, does not stem, and is the F1 of Lin (2004), "ROUGE: A Package for
Automatic Evaluation of Summaries", section 3.1, with recall and precision of the same weight.
"""

import re
from collections.abc import Callable, Iterable, Sequence

WORD = re.compile(r"[a-z0-9]+")


def share(hits: Iterable[bool]) -> float:
    """The share of those that are true; 0 of none."""
    values = list(hits)
    return sum(values) / len(values) if values else 0.0


def mean(values: Sequence[float]) -> float:
    """Their mean; 0 of none."""
    return sum(values) / len(values) if values else 0.0


def normalized(text: str) -> str:
    """The words in lower case, without punctuation and without what surrounds them."""
    return " ".join(re.findall(r"\w+", text.lower()))


def exact_match(answers: Sequence[str], expected: Sequence[str]) -> float:
    """The share of answers that are what was expected, in any case and punctuation."""
    return share(normalized(answer) == normalized(right) for answer, right in zip(answers, expected, strict=True))


def contained(answers: Sequence[str], expected: Sequence[str]) -> float:
    """The share of answers in which the expected words stand somewhere, one behind the other."""
    pairs = zip(answers, expected, strict=True)
    return share(f" {normalized(right)} " in f" {normalized(answer)} " for answer, right in pairs)


def copied(answers: Sequence[str], sources: Sequence[str]) -> float:
    """The share of answers that are not empty and stand in their source, letter by letter."""
    return share(bool(answer) and answer in source for answer, source in zip(answers, sources, strict=True))


def rouge_l(answers: Sequence[str], expected: Sequence[str]) -> float:
    """The mean ROUGE-L F1."""
    return mean([rouge_l_of(answer, right) for answer, right in zip(answers, expected, strict=True)])


def rouge_l_of(answer: str, expected: str) -> float:
    """ROUGE-L F1 of one answer."""
    said, wanted = WORD.findall(answer.lower()), WORD.findall(expected.lower())
    common = longest_common_subsequence(said, wanted)
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length: words in the same order, with or without others between them."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, candidate in enumerate(other, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == candidate else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def naming(answers: Sequence[str], names: Iterable[str]) -> float:
    """The share of answers with one of the names in it, as a word of its own and in its own case."""
    known = set(names)
    return share(not known.isdisjoint(re.findall(r"[^\W\d_]+", answer)) for answer in answers)


def following(answers: Sequence[str], rules: Sequence[Callable[[str], bool]]) -> float:
    """The share of answers that keep the rule, each its own."""
    return share(rule(answer) for answer, rule in zip(answers, rules, strict=True))
