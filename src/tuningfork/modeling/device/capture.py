"""Captures operations so that a device can replay them at once: CUDA graphs, and a substitute for tests.

A small model's pass is some thousand short kernels, and a GPU computes each in less time than Python takes to launch
it. A CUDA graph launches all of them with one call.
"""

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

import torch

Operations = Callable[[], None]
"""A function that computes on buffers. Called again, it computes the same on the buffers' new contents."""


class Capture(Protocol):
    """Captures operations for replay."""

    def __call__(self, operations: Operations) -> Operations:
        """A function that replays the operations. Capturing may run them, any number of times.

        Raises:
            RuntimeError: the operations cannot be captured.

        """
        ...


def reexecution(operations: Operations) -> Operations:
    """Replay by calling the operations again. For tests on devices without graphs; slower than ordinary steps."""
    return operations


def capture_of(device: torch.device, *, gpu_shortcuts: bool) -> Capture | None:
    """A capture of CUDA graphs; None on other devices, and where the operator has turned off GPU shortcuts."""
    return CudaCapture(device) if device.type == "cuda" and gpu_shortcuts else None


class CudaCapture:
    """Captures CUDA graphs. All graphs share one memory pool, so only one may run at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._alive: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._pool: Any = None

    def __call__(self, operations: Operations) -> Operations:
        """See `Capture.__call__`."""
        current = torch.cuda.current_stream(self._device)
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        # Run once before capturing: libraries choose kernels and allocate workspaces at their first calls, which
        # capture forbids.
        with torch.cuda.stream(side):
            for _ in range(2):
                operations()
        current.wait_stream(side)
        if not self._alive:
            # A memory pool cannot be used again after all its graphs have been freed.
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            # "thread_local" lets other threads use the device during the capture.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                operations()
        finally:
            # If a capture fails, torch stays on the capturing stream.
            torch.cuda.set_stream(current)
        self._alive.add(graph)
        return graph.replay
