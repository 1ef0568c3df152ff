"""A cache of one engine's graphs, one for each shape of its passes. Graphs are compared with the ordinary computation.

A graph is valid for one shape, so engines round shapes up. A graph reads all changing inputs from buffers at fixed
addresses. A new graph's first passes are also computed without the graph. If the two results differ by more than
rounding, or a graph cannot be made or run, the engine uses no graphs from then on, and logs a warning.

Shape suffixes: B rows, V vocabulary.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from tuningfork.modeling.device.capture import Capture, Operations

logger = logging.getLogger(__name__)

Shape = TypeVar("Shape", bound=Hashable)
Content = TypeVar("Content")
Result = TypeVar("Result")

_ROUNDING = {torch.float32: 1e-3, torch.float16: 0.05}
_COARSE_ROUNDING = 0.1


def rounding_of(dtype: torch.dtype) -> float:
    """The largest relative difference allowed between a graph's results and ordinary ones in this dtype."""
    return _ROUNDING.get(dtype, _COARSE_ROUNDING)


def difference(found_BV: Tensor, right_BV: Tensor) -> float | None:
    """The largest RMS difference of any row of logits, divided by the standard deviation of the row's right logits.

    NaN if the found logits are not finite though the right ones are. None if no row of the right logits is finite, so
    that there is nothing to compare.
    """
    finite_B = right_BV.isfinite().all(dim=-1)
    if not finite_B.any():
        return None
    right_BV = right_BV[finite_B]
    distance_B = (found_BV[finite_B] - right_BV).square().mean(dim=-1)
    return float((distance_B / right_BV.var(dim=-1).clamp_min(1e-12)).sqrt().max())


def power_of_two(count: int) -> int:
    """The smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()


def copy_to_buffer(numbers: Tensor, buffer: Tensor) -> None:
    """Copy numbers from the CPU to the start of a buffer that a graph reads, without waiting for the device."""
    host = numbers.pin_memory() if buffer.is_cuda else numbers
    buffer[: len(host)].copy_(host, non_blocking=True)


@dataclass(slots=True)
class Graph(Generic[Content]):
    """The graph of one shape.

    `content` is what the engine stores with the graph, such as its buffers. `operations` hold references to the tensors
    whose addresses the graph uses. `trials` is how many more passes are to be compared with the ordinary computation.
    """

    operations: Operations
    replay: Operations
    content: Content
    trials: int


class GraphCache(Generic[Shape, Content]):
    """The most recently used graphs.

    Args:
        capture: makes a graph of operations.
        most: the largest number of graphs that are kept.
        trials: how many passes of each graph are compared with ordinary ones.
        rounding: see `rounding_of`.
        warning: what the log says, before the reason, when graphs are not used any more.

    """

    def __init__(self, capture: Capture, *, most: int, trials: int, rounding: float, warning: str) -> None:
        self._capture = capture
        self._most = most
        self._trials = trials
        self._rounding = rounding
        self._warning = warning
        self._graphs: OrderedDict[Shape, Graph[Content]] = OrderedDict()
        self._is_on = True

    @property
    def is_on(self) -> bool:
        """Whether graphs are still used; after a graph has failed, none are."""
        return self._is_on

    def __len__(self) -> int:
        return len(self._graphs)

    def __iter__(self) -> Iterator[Shape]:
        """The shapes, the least recently used first."""
        return iter(self._graphs)

    def __reversed__(self) -> Iterator[Shape]:
        return reversed(self._graphs)

    def values(self) -> Iterator[Graph[Content]]:
        """The graphs, the least recently used first."""
        return iter(self._graphs.values())

    def get(self, shape: Shape) -> Graph[Content] | None:
        """This shape's graph, which becomes the most recently used; None: there is none."""
        graph = self._graphs.get(shape)
        if graph is not None:
            self._graphs.move_to_end(shape)
        return graph

    def make(self, shape: Shape, operations: Operations, content: Content) -> Graph[Content]:
        """Make this shape's graph; drop the least recently used graphs if there are too many.

        Raises:
            RuntimeError: the operations cannot be captured.

        """
        graph = self._graphs[shape] = Graph(operations, self._capture(operations), content, self._trials)
        while len(self._graphs) > self._most:
            self._graphs.popitem(last=False)
        return graph

    def drop(self, is_stale: Callable[[Shape, Content], bool]) -> None:
        """Drop the graphs for which `is_stale` returns true."""
        for shape, graph in list(self._graphs.items()):
            if is_stale(shape, graph.content):
                del self._graphs[shape]

    def attempt(self, work: Callable[[], Result]) -> Result | None:
        """Call `work` and return its result. If a graph cannot be made or run, drop all graphs and return None."""
        try:
            return work()
        except RuntimeError as error:
            self._give_up(f"one could not be made or run: {error}")
            return None

    def judge(self, graph: Graph[Content], off: float | None, what: str) -> None:
        """Count a comparison of this graph with the ordinary computation; drop all graphs if its results were wrong.

        Args:
            graph: the graph that was compared.
            off: the relative difference of its results from the ordinary ones; NaN if only the graph's are not finite;
                None: there was nothing to compare, and the comparison does not count.
            what: the text of the warning, in which `{off}` stands for the difference.

        """
        if off is None:
            return
        graph.trials -= 1
        # The condition is negated so that NaN counts as wrong.
        if not off <= self._rounding:
            self._give_up(what.format(off=f"{off:.2g}"))

    def _give_up(self, reason: str) -> None:
        self._is_on = False
        self._graphs.clear()
        logger.warning("%s: %s", self._warning, reason)
