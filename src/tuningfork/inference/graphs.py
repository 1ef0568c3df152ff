"""Steps that feed one token of every row, kept as they are: a GPU runs one again without being told each operation.

A small model's step is some thousand short kernels, and a GPU computes each in less time than Python takes to ask for
it. Here a step's shape is rounded up (rows, and pages for each row, to powers of two), its operations read all that
changes from buffers that stay where they are, and a CUDA graph repeats them.

No wrong answer comes of it: a new graph's first steps are computed in the ordinary way too, and where the two differ by
more than rounding, or a graph cannot be made, there are no graphs any more. What takes a graph's place on a CPU, the
same operations over the same buffers, shows in tests that everything else is right.

Rows that fill up repeat the last one, writing the same numbers to the same place, so that nothing comes into being that
is nobody's. Shape suffixes: B rows, filled up, P pages of all rows, V vocabulary.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor

from tuningfork.inference.cached_plan import GivenRows, Span
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, pages_for
from tuningfork.modeling.adapter_routes import Rows
from tuningfork.modeling.adapter_tables import GroupTable, RankTables
from tuningfork.modeling.capture import Capture, Operations, capture_of, power_of_two, rounding_of
from tuningfork.modeling.decoder.decoder import Decoder, Serving
from tuningfork.modeling.decoder.layer import Pass
from tuningfork.modeling.decoder.pieces import Rotation
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.lora import AdapterSlots

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")

_MOST_ROWS = 64
_MOST_PAGES = 2048
"""Of all rows: beyond 65,536 tokens a step's attention takes so long that a GPU does not wait for Python."""
_MOST_RANKS = 4
"""Of one step's adapters: each takes kernels of its own, for all rows."""
_KEPT_GRAPHS = 64
_TRIALS = 2
"""So many steps of each graph are compared with ordinary ones: with the numbers it was made with, and with others."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What distinguishes graphs. `pages` are of one row; no `ranks`: the base alone."""

    rows: int
    pages: int
    ranks: tuple[int, ...]

    @property
    def columns(self) -> list[int]:
        """How many numbers of each kind a step reads; see `_Buffers`."""
        return [self.rows] * (4 + len(self.ranks)) + [self.rows * self.pages]


@dataclass(slots=True)
class _Graph:
    operations: Operations
    """Kept, since a graph does not hold the tensors whose addresses it knows."""
    replay: Operations
    versions: list[int]
    """Of the adapter tables that it reads."""
    trials: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One step's numbers, filled up to its shape."""

    shape: _Shape
    tables: list[RankTables]
    numbers: list[int]

    @classmethod
    def of(cls, ids: Sequence[int], spans: Sequence[Span], slots: Sequence[int], adapters: AdapterSlots) -> Self | None:
        """None: it has no shape that graphs are made for."""
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
    """What all graphs read and write, at addresses that never change.

    `inputs` holds a step's token ids, positions, places in the cache, ends, places in the adapter tables of each rank
    and, row by row, pages; where each begins depends on the shape.
    """

    def __init__(self, decoder: Decoder, device: torch.device) -> None:
        self._inputs = torch.zeros((4 + _MOST_RANKS) * _MOST_ROWS + _MOST_PAGES, dtype=torch.long, device=device)
        self.logits_BV = torch.zeros(_MOST_ROWS, len(decoder.head.weight_OD), device=device)
        # Some models look at the largest position first to choose their tables, which no graph does.
        self._tables = {kind: tables for kind, tables in decoder.rotations.items() if not tables.is_fixed}
        positions_B = self._inputs[:_MOST_ROWS]
        self._rotations = {kind: Rotation.of(*tables(positions_B)) for kind, tables in self._tables.items()}

    def fill(self, step: _Step) -> None:
        """Hand a step's numbers over, in one copy that nobody waits for."""
        host = torch.tensor(step.numbers, pin_memory=self._inputs.is_cuda)
        self._inputs[: len(host)].copy_(host, non_blocking=True)
        for kind, own in self.rotations(step.shape.rows).items():
            now = Rotation.of(*self._tables[kind](self.columns(step.shape)[1]))
            own.cos_T1K.copy_(now.cos_T1K)
            own.sin_T1K.copy_(now.sin_T1K)

    def columns(self, shape: _Shape) -> list[Tensor]:
        """Token ids, positions, places in the cache, ends, places in each rank's tables, and pages, as views."""
        counts = shape.columns
        return list(torch.split(self._inputs[: sum(counts)], counts))

    def rotations(self, rows: int) -> dict[str, Rotation]:
        """Those that depend on the largest position, of so many rows, as views."""
        return {kind: Rotation(whole.cos_T1K[:rows], whole.sin_T1K[:rows]) for kind, whole in self._rotations.items()}


class DecodeGraphs:
    """One engine's graphs, made as shapes come up.

    Args:
        base: its adapters may come and go; graphs go with the tables that they read.
        decoder: the base's.
        cache: the engine's.
        capture: what keeps operations.
        trials: see `_TRIALS`.
        kept: of more graphs those go that were not used for the longest time.

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
        self._capture = capture
        self._trials = trials
        self._kept = kept
        self._buffers: _Buffers | None = None
        self._graphs: OrderedDict[_Shape, _Graph] = OrderedDict()
        self._is_on = True

    @classmethod
    def of(cls, base: LoadedBase, cache: KvCache, capture: Capture | None) -> Self | None:
        """What the engine over this base uses; `capture` None: graphs on CUDA, nothing elsewhere."""
        capture = capture or capture_of(base.device)
        # What transformers' own code does in a forward pass is not known to be repeatable.
        return None if capture is None or base.decoder is None else cls(base, base.decoder, cache, capture)

    def logits(
        self, ids: Sequence[int], spans: Sequence[Span], slots: Sequence[int], ordinary: Callable[[], Tensor]
    ) -> Tensor:
        """Logits after each span's tokens, in fp32, until the next call: from a graph, or the ordinary computation."""
        step = _Step.of(ids, spans, slots, self._base.slots) if self._is_on else None
        if step is None:
            return ordinary()
        try:
            graph = self._replayed(step)
        except RuntimeError as error:
            self._give_up(f"one could not be made or run: {error}")
            return ordinary()
        assert self._buffers is not None  # noqa: S101  a graph was just run on them
        logits_BV = self._buffers.logits_BV[: len(spans)]
        if not graph.trials:
            return logits_BV
        # After the graph, so that what the ordinary step writes to the cache stays there.
        right_BV = ordinary()
        off = _difference(logits_BV, right_BV)
        if off is not None:
            graph.trials -= 1
            if not off <= rounding_of(self._base.dtype):
                self._give_up(f"the logits of one are off by {off:.2g} of their spread")
        return right_BV

    def _replayed(self, step: _Step) -> _Graph:
        self._buffers = self._buffers or _Buffers(self._decoder, self._base.device)
        self._buffers.fill(step)
        self._forget_stale()
        graph = self._graphs.get(step.shape)
        if graph is None:
            operations = self._operations(step.shape, step.tables, self._buffers)
            versions = [each.version for each in step.tables]
            graph = _Graph(operations, self._capture(operations), versions, self._trials)
            self._graphs[step.shape] = graph
            while len(self._graphs) > self._kept:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(step.shape)
        graph.replay()
        return graph

    def _operations(self, shape: _Shape, tables: Sequence[RankTables], buffers: _Buffers) -> Operations:
        ids_B, positions_B, places_B, ends_B, *owns_B, pages_P = buffers.columns(shape)
        given = buffers.rotations(shape.rows)
        fixed = {kind: each for kind, each in self._decoder.rotations.items() if kind not in given}
        kept_N = torch.arange(shape.rows, device=ids_B.device)
        # Just these tensors, whatever becomes of the tables: a graph knows addresses.
        groups = [[GroupTable(each.a_CDR, list(each.bs_CRO)) for each in own.groups] for own in tables]

        def operations() -> None:
            rotations = {kind: Rotation.of(*each(positions_B)) for kind, each in fixed.items()}
            route = Rows.at(list(zip(shape.ranks, groups, owns_B, strict=True))) if shape.ranks else None
            pass_ = Pass(
                attention=Serving(GivenRows(self._cache, places_B, pages_P, ends_B)),
                rotations=given | rotations,
                route=route,
                tail_route=route,
                kept_N=kept_N,
            )
            buffers.logits_BV[: shape.rows].copy_(self._decoder.forward(ids_B, pass_))

        return operations

    def _forget_stale(self) -> None:
        """Let go of graphs whose tables are no more."""
        tables = self._base.slots.tables
        for shape, graph in list(self._graphs.items()):
            if graph.versions != [tables.version_of(rank) for rank in shape.ranks]:
                del self._graphs[shape]

    def _give_up(self, reason: str) -> None:
        self._is_on = False
        self._graphs.clear()
        self._buffers = None
        logger.warning("answers of %s go on without CUDA graphs, more slowly: %s", self._base.location, reason)


def _difference(logits_BV: Tensor, right_BV: Tensor) -> float | None:
    """The largest root mean square difference of a row, as a share of its spread; NaN where only ours is not finite.

    None: no row is finite, so that nothing can be said.
    """
    finite_B = right_BV.isfinite().all(dim=-1)
    if not finite_B.any():
        return None
    right_BV = right_BV[finite_B]
    distance_B = (logits_BV[finite_B] - right_BV).square().mean(dim=-1)
    return float((distance_B / right_BV.var(dim=-1).clamp_min(1e-12)).sqrt().max())


def _filled(items: Sequence[_Item], count: int) -> list[_Item]:
    return [*items, *[items[-1]] * (count - len(items))]
