"""How large a piece of a long pass is: between two pieces the pass can be suspended.

How a computation is cut depends on its shape alone, never on what else runs, so it does not affect reproducibility.
"""

from collections.abc import Generator
from itertools import pairwise
from typing import TypeVar

Result = TypeVar("Result")

PIECE_PRODUCTS = 2 * 10**10
"""About how many multiplications a piece has: half a second of one core with AVX-512."""


def run_to_end(parts: Generator[None, None, Result]) -> Result:
    """Run all parts of a computation, and return its result."""
    while True:
        try:
            next(parts)
        except StopIteration as ended:
            found: Result = ended.value
            return found


def even_blocks(count: int, most: int) -> list[tuple[int, int]]:
    """Begin and end of the fewest blocks of at most `most` that `count` can be cut into, of about equal sizes."""
    if not count:
        return []
    blocks = -(-count // most)
    return [*pairwise([count * block // blocks for block in range(blocks + 1)])]
