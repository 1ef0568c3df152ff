"""Long texts as pieces that overlap, so that what stands at a border is seen whole in one of them."""

from collections.abc import Sequence

OVERLAP = 4
"""A piece shares this part of its length (a quarter) with the one before."""


def windows_of(tokens: int, size: int) -> list[slice]:
    """Slices of at most so many tokens that cover all of them; at least one, also of nothing.

    The number of slices grows linearly with the tokens: all but the last hold `size`.
    """
    step = max(1, size - size // OVERLAP)
    last = max(0, tokens - size)
    starts = [*range(0, last, step), last]
    return [slice(start, start + size) for start in starts]


def pieces_of(text: str, offsets: Sequence[tuple[int, int]], size: int) -> list[str]:
    """The text cut into pieces of at most so many tokens, which lie at these characters."""
    if len(offsets) <= size:
        return [text]
    return [text[offsets[piece][0][0] : offsets[piece][-1][1]] for piece in windows_of(len(offsets), size)]
