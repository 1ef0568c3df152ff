"""How many of a worker's threads a pass uses: all, or one where waking the others takes longer than they save.

How many threads compute something is a function of what is computed, and so are its last bits.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WORTH_WAKING = 4e9
"""Operations of a pass (additions and multiplications) from which on threads save more than they cost: some 20 ms of
one core in bfloat16, spread over a hundred products."""

_CACHED_BYTES = 32 * 1024**2
"""Weights that a core's caches hold. Others are read from memory at each pass, which several threads do faster."""


def is_small(operations: float, *, weight_bytes: int = 0) -> bool:
    """Whether a pass of so many operations over so many bytes of weights is fastest on one thread."""
    return operations < _WORTH_WAKING and weight_bytes < _CACHED_BYTES


@contextmanager
def one_thread(*, only: bool) -> Iterator[None]:
    """Compute the block on one of torch's threads, if `only` says so; on all of them otherwise."""
    most = torch.get_num_threads()
    if not only or most == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(most)
