"""How many of torch's threads a pass uses: all, or one if waking the others costs more time than they save.

The number of threads affects the last bits of a result, so the choice depends on the pass alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WORTH_WAKING = 4e9
"""Several threads are faster for a pass with at least this many additions and multiplications: about 20 ms of one core
in bfloat16, spread over a hundred products."""

_CACHED_BYTES = 32 * 1024**2
"""The size of weights, 32 MiB, that fits into a core's caches. Larger weights are read from memory at each pass, which
is faster with several threads."""


def is_small(operations: float, *, weight_bytes: int = 0) -> bool:
    """Whether a pass of this many operations over this many bytes of weights is fastest on one thread."""
    return operations < _WORTH_WAKING and weight_bytes < _CACHED_BYTES


@contextmanager
def one_thread(*, only: bool) -> Iterator[None]:
    """Run the `with` block on one of torch's threads if `only`, else on all."""
    most = torch.get_num_threads()
    if not only or most == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(most)
