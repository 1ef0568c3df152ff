"""Cuts long texts into overlapping pieces, so that words around a cut are together in one of the pieces."""

from collections.abc import Sequence

OVERLAP = 4
"""A piece shares one part in this many of its length (a quarter) with the previous piece."""


def windows_of(tokens: int, size: int) -> list[slice]:
    """Overlapping slices of at most `size` tokens that cover all tokens; one slice also for no tokens.

    All slices except the last have `size` tokens, so their number grows linearly with the number of tokens.
    """
    step = max(1, size - size // OVERLAP)
    last = max(0, tokens - size)
    starts = [*range(0, last, step), last]
    return [slice(start, start + size) for start in starts]


def pieces_of(text: str, offsets: Sequence[tuple[int, int]], size: int) -> list[str]:
    """Cut the text into pieces of at most `size` tokens; `offsets` are each token's begin and end in characters."""
    if len(offsets) <= size:
        return [text]
    return [text[offsets[piece][0][0] : offsets[piece][-1][1]] for piece in windows_of(len(offsets), size)]
