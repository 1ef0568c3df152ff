"""Operations that a device repeats without being told each one: CUDA graphs, and what stands in for them in tests.

A small model's pass is some thousand short kernels, and a GPU computes each in less time than Python takes to ask for
it. A graph is asked for once.
"""

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

import torch

from tuningfork.modeling import shortcuts

Operations = Callable[[], None]
"""Work on buffers: called again, it does the same with what is in them then."""


_ROUNDING = {torch.float32: 1e-3, torch.float16: 0.05}
_COARSE_ROUNDING = 0.1


def rounding_of(dtype: torch.dtype) -> float:
    """How far a graph's numbers may be from ordinary ones, as a share of theirs: 8 bits over dozens of layers."""
    return _ROUNDING.get(dtype, _COARSE_ROUNDING)


def power_of_two(count: int) -> int:
    """The next one: shapes are rounded up, so that they recur."""
    return 1 << (count - 1).bit_length()


class Capture(Protocol):
    """Keeps operations."""

    def __call__(self, operations: Operations) -> Operations:
        """What repeats them; they may be carried out on the way, any number of times.

        Raises:
            RuntimeError: they cannot be kept.

        """
        ...


def reexecution(operations: Operations) -> Operations:
    """Nothing is kept; it is all done again. For devices without graphs, and slower there than ordinary steps."""
    return operations


def capture_of(device: torch.device) -> Capture | None:
    """What keeps operations on this device; None: nothing."""
    return CudaCapture(device) if device.type == "cuda" and shortcuts.are_taken() else None


class CudaCapture:
    """CUDA graphs, which share their memory: one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._alive: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._pool: Any = None

    def __call__(self, operations: Operations) -> Operations:
        """See `Capture.__call__`."""
        current = torch.cuda.current_stream(self._device)
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        # Libraries choose kernels and take workspaces at their first calls, which must not happen under capture.
        with torch.cuda.stream(side):
            for _ in range(2):
                operations()
        current.wait_stream(side)
        if not self._alive:
            # The memory of graphs that are all gone is not to be had again under its old name.
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may go on using the device.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                operations()
        finally:
            # Torch stays on the capturing stream where a capture fails.
            torch.cuda.set_stream(current)
        self._alive.add(graph)
        return graph.replay
