"""CUDA graphs for decode steps, which feed one token of every row.

A small model's step is some thousand short kernels, and a GPU computes each in less time than Python takes to launch
it. So a step's shape is rounded up (rows, and pages for each row, to powers of two), its operations read all changing
inputs from buffers at fixed addresses, and a CUDA graph replays them. A new graph's first steps are also computed
without a graph, and compared (`GraphCache`). Tests on a CPU run the same operations over the same buffers, without a
graph.

Padding rows repeat the last row and write the same keys and values to the same place in the cache, so that they need no
page of their own.

Shape suffixes: B rows, padding included, P pages of all rows, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import torch
from torch import Tensor

from tuningfork.inference.cached_plan import DecodePlan, Span
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, pages_for
from tuningfork.modeling.adapters.routes import PerToken
from tuningfork.modeling.adapters.slots import AdapterSlots
from tuningfork.modeling.adapters.tables import GroupTable, RankTables
from tuningfork.modeling.decoder.decoder import Decoder, Serving
from tuningfork.modeling.decoder.layer import Pass
from tuningfork.modeling.decoder.rotary import RotationBuffers
from tuningfork.modeling.device.capture import Capture, Operations, capture_of
from tuningfork.modeling.device.graph_cache import (
    Graph,
    GraphCache,
    copy_to_buffer,
    difference,
    power_of_two,
    rounding_of,
)
from tuningfork.modeling.loading import LoadedBase

_Item = TypeVar("_Item")

_MOST_ROWS = 64
_MOST_PAGES = 2048
"""The most pages of all rows together, for steps with a graph. Beyond these 65,536 tokens a graph saves no time: the
GPU computes attention for longer than Python takes to launch the kernels."""
_MOST_RANKS = 4
"""The most ranks among the adapters in a step with a graph. Each rank needs its own kernels, over all rows."""
_KEPT_GRAPHS = 64
_TRIALS = 2
"""How many steps of each graph are compared with the ordinary computation: one with the inputs of its capture, and one
with other inputs."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """The shape of steps for which a graph is made: rows, pages of each row, and ranks of adapters (empty: none)."""

    rows: int
    pages: int
    ranks: tuple[int, ...]

    @property
    def columns(self) -> list[int]:
        """How many numbers of each kind a step reads from `_Buffers.inputs`, in the order of the kinds there."""
        return [self.rows] * (4 + len(self.ranks)) + [self.rows * self.pages]


@dataclass(frozen=True, slots=True)
class _Step:
    """The inputs of one step, padded to its shape."""

    shape: _Shape
    tables: list[RankTables]
    numbers: list[int]

    @classmethod
    def of(cls, ids: Sequence[int], spans: Sequence[Span], slots: Sequence[int], adapters: AdapterSlots) -> Self | None:
        """The step with these inputs; None: graphs are not made for its shape."""
        if any(span.length != 1 for span in spans):
            return None
        rows, pages = power_of_two(len(spans)), power_of_two(max(pages_for(span.end) for span in spans))
        if rows > _MOST_ROWS or rows * pages > _MOST_PAGES:
            return None
        placed = adapters.tables.placed(slots)
        if placed is None or len(placed) > _MOST_RANKS:
            return None
        tables = [each for each, _ in placed]
        places = [span.pages[span.begin // PAGE_TOKENS] * PAGE_TOKENS + span.begin % PAGE_TOKENS for span in spans]
        begins, ends = [span.begin for span in spans], [span.end for span in spans]
        columns = (ids, begins, places, ends, *[own for _, own in placed])
        seen = [span.pages[: pages_for(span.end)] for span in spans]
        padded = [[*each, *[0] * (pages - len(each))] for each in seen]
        numbers = [number for column in columns for number in _filled(column, rows)]
        numbers += [page for each in _filled(padded, rows) for page in each]
        return cls(_Shape(rows, pages, tuple(each.rank for each in tables)), tables, numbers)


class _Buffers:
    """The tensors that all graphs read and write, at fixed addresses.

    `inputs` has, one after the other: each row's token id, position, index in the cache and length; for each rank, each
    row's index in the adapter tables; and the pages of all rows. Where each part begins depends on the shape.
    """

    def __init__(self, decoder: Decoder, device: torch.device) -> None:
        self._inputs = torch.zeros((4 + _MOST_RANKS) * _MOST_ROWS + _MOST_PAGES, dtype=torch.long, device=device)
        self.logits_BV = torch.zeros(_MOST_ROWS, decoder.head.outputs, device=device)
        self.rotations = RotationBuffers(decoder.rotations, self._inputs[:_MOST_ROWS])

    def fill(self, step: _Step) -> None:
        """Copy a step's inputs to the device, by one asynchronous copy."""
        copy_to_buffer(torch.tensor(step.numbers), self._inputs)
        _, positions_B, *_ = self.columns(step.shape)
        self.rotations.fill(positions_B)

    def columns(self, shape: _Shape) -> list[Tensor]:
        """Views of `inputs`: token ids, positions, cache indices, lengths, each rank's table indices, and pages."""
        counts = shape.columns
        return list(torch.split(self._inputs[: sum(counts)], counts))


class DecodeGraphs:
    """The graphs of one engine, each made at the first step of its shape.

    Args:
        base: the loaded base. When one of its adapter tables is replaced, the graphs that read the table are dropped.
        decoder: the base's decoder.
        cache: the engine's cache.
        capture: makes a graph of operations.
        trials: see `_TRIALS`.
        kept: how many graphs are kept; the least recently used are dropped first.

    """

    def __init__(
        self,
        base: LoadedBase,
        decoder: Decoder,
        cache: KvCache,
        capture: Capture,
        *,
        trials: int = _TRIALS,
        kept: int = _KEPT_GRAPHS,
    ) -> None:
        self._base = base
        self._decoder = decoder
        self._cache = cache
        self._buffers: _Buffers | None = None
        self._graphs: GraphCache[_Shape, list[int]] = GraphCache(
            capture,
            most=kept,
            trials=trials,
            rounding=rounding_of(base.dtype),
            warning=f"answers of {base.location} go on without CUDA graphs, more slowly",
        )
        """The content of each graph: the versions of the adapter tables that it reads."""

    @classmethod
    def of(cls, base: LoadedBase, cache: KvCache, capture: Capture | None) -> Self | None:
        """The graphs for an engine over this base; None: it uses none. `capture` None: CUDA graphs on a CUDA device."""
        capture = capture or capture_of(base.device, gpu_shortcuts=base.gpu_shortcuts)
        # The project's own decoder runs the same operations each time; transformers' code may not.
        return None if capture is None or base.decoder is None else cls(base, base.decoder, cache, capture)

    def logits(
        self, ids: Sequence[int], spans: Sequence[Span], slots: Sequence[int], ordinary: Callable[[], Tensor]
    ) -> Tensor:
        """Logits after each span's last token, in fp32, from a graph or else from `ordinary`.

        The tensor is overwritten by the next call.
        """
        step = _Step.of(ids, spans, slots, self._base.slots) if self._graphs.is_on else None
        graph = None if step is None else self._graphs.attempt(partial(self._replayed, step))
        if graph is None or self._buffers is None:
            self._free_unused()
            return ordinary()
        logits_BV = self._buffers.logits_BV[: len(spans)]
        if not graph.trials:
            return logits_BV
        # The ordinary step runs after the graph, so that its keys and values are the ones that stay in the cache.
        right_BV = ordinary()
        off = difference(logits_BV, right_BV)
        self._graphs.judge(graph, off, "the logits of one are off by {off} of their spread")
        self._free_unused()
        return right_BV

    def _free_unused(self) -> None:
        """Free the buffers if graphs are not used any more, after a graph has failed."""
        if not self._graphs.is_on:
            self._buffers = None

    def _replayed(self, step: _Step) -> Graph[list[int]]:
        self._buffers = self._buffers or _Buffers(self._decoder, self._base.device)
        self._buffers.fill(step)
        self._forget_stale()
        graph = self._graphs.get(step.shape)
        if graph is None:
            operations = self._operations(step.shape, step.tables, self._buffers)
            graph = self._graphs.make(step.shape, operations, [each.version for each in step.tables])
        graph.replay()
        return graph

    def _operations(self, shape: _Shape, tables: Sequence[RankTables], buffers: _Buffers) -> Operations:
        ids_B, positions_B, places_B, ends_B, *owns_B, pages_P = buffers.columns(shape)
        kept_N = torch.arange(shape.rows, device=ids_B.device)
        # Keep references to the tensors of today's tables: the graph reads their addresses, and tables may be replaced.
        groups = [[GroupTable(each.a_CDR, list(each.bs_CRO)) for each in own.groups] for own in tables]

        def operations() -> None:
            own = list(zip(shape.ranks, groups, owns_B, strict=True))
            route = PerToken.at(self._base.kernels.adapters, own) if own else None
            pass_ = Pass(
                attention=Serving(DecodePlan(self._cache, places_B, pages_P, ends_B, self._base.kernels.attention)),
                rotations=buffers.rotations.rotations(positions_B),
                route=route,
                tail_route=route,
                kept_N=kept_N,
            )
            buffers.logits_BV[: shape.rows].copy_(self._decoder.forward(ids_B, pass_))

        return operations

    def _forget_stale(self) -> None:
        """Drop graphs whose adapter tables have been replaced."""
        tables = self._base.slots.tables
        self._graphs.drop(lambda shape, versions: versions != [tables.version_of(rank) for rank in shape.ranks])


def _filled(items: Sequence[_Item], count: int) -> list[_Item]:
    return [*items, *[items[-1]] * (count - len(items))]
