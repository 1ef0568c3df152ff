"""How one text differs from another, word by word."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

MOST_WORDS = 2_000
"""Of both texts together: the comparison takes time that grows with the product of the two numbers of words."""

# A run of letters and digits, a run of blanks, or one other character. Scripts without blanks are compared letter by
# letter: CJK ideographs, kana and Hangul.
_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|\s+|[\s\S]")


class Change(StrEnum):
    """What became of a piece of text."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters that follow each other and have the same fate."""

    text: str
    change: Change


def text_diff(before: str, after: str) -> tuple[Piece, ...]:
    """The pieces of both texts in order: what is not ADDED makes up `before`, what is not REMOVED makes up `after`.

    Texts of more than `MOST_WORDS` words are compared at their beginnings and ends only.
    """
    old, new = _WORD.findall(before), _WORD.findall(after)
    first = _same_length(old, new)
    last = _same_length(old[first:][::-1], new[first:][::-1])
    middle = _changes(old[first : len(old) - last], new[first : len(new) - last])
    pieces = [
        Piece("".join(old[:first]), Change.SAME),
        *middle,
        Piece("".join(old[len(old) - last :]), Change.SAME),
    ]
    return tuple(piece for piece in pieces if piece.text)


def _same_length(one: list[str], other: list[str]) -> int:
    """How many words the two begin with in common."""
    return next(
        (number for number, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )


def _changes(old: list[str], new: list[str]) -> list[Piece]:
    if len(old) + len(new) > MOST_WORDS:
        return [Piece("".join(old), Change.REMOVED), Piece("".join(new), Change.ADDED)]
    pieces = []
    for tag, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("".join(old[old_from:old_to]), Change.SAME))
            continue
        pieces.append(Piece("".join(old[old_from:old_to]), Change.REMOVED))
        pieces.append(Piece("".join(new[new_from:new_to]), Change.ADDED))
    return pieces
