"""CUDA graphs of training passes, forward and backward.

A pass's shape is rounded up, its operations read all changing inputs from buffers at fixed addresses, and a graph
replays them. Jobs that share a pass have blocks of equal size, padded with tokens without targets, so that few shapes
serve all batches of a job. A shape's graph is made at the shape's second pass, and its first pass is also computed
without the graph (`GraphCache`).

Shape suffixes: T tokens of the pass, N targets, S segments, J adapters, P all numbers of one adapter.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import Pass
from tuningfork.modeling.decoder.rotary import RotationBuffers
from tuningfork.modeling.device.capture import Capture, Operations, capture_of
from tuningfork.modeling.device.graph_cache import Graph, GraphCache, copy_to_buffer, power_of_two, rounding_of
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.attention.packed_attention import (
    Borders,
    FusedAttention,
    MaskedAttention,
    numbers_of,
)
from tuningfork.training.batches import Pack
from tuningfork.training.loss import TargetLosses, TargetScores
from tuningfork.training.objectives import LossWeights
from tuningfork.training.sections import PassLayout, Section, pad_to_sections, routes

_MOST_OPERATIONS = 3e13
"""The most floating-point operations of a pass with a graph. For a larger pass a graph saves no time: the GPU computes
longer than Python takes to launch the kernels."""
_MOST_MASKED_TOKENS = 2048
"""The most tokens of a pass with a graph where attention is not fused, since then the scores of all pairs of tokens are
in memory."""
_KEPT_GRAPHS = 16
_MOST_TIMES_LARGER = 2.0
"""A pass does not use a graph whose shape has more than this many times the pass's tokens."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The part of a pass's shape for the adapters of one rank and scale: `owners` of them, each with equal sizes.

    Each adapter has `tokens` rows and `targets` targets, padding included.
    """

    adapter: AdapterShape
    owners: int
    tokens: int
    targets: int

    def holds(self, other: "_Block") -> bool:
        """Whether the other block fits into this one and is not much smaller."""
        alike = self.adapter == other.adapter and self.owners == other.owners
        return (
            alike and other.targets <= self.targets and other.tokens <= self.tokens <= _MOST_TIMES_LARGER * other.tokens
        )


@dataclass(frozen=True, slots=True)
class _Shape:
    """The shape of passes for which a graph is made: one block for each adapter shape.

    `segments` and `pairs` are the most segments, and the most pairs of answers, of a pass.
    """

    blocks: tuple[_Block, ...]
    segments: int
    pairs: int

    @property
    def tokens(self) -> int:
        return sum(block.owners * block.tokens for block in self.blocks)

    @property
    def targets(self) -> int:
        return sum(block.owners * block.targets for block in self.blocks)

    def holds(self, other: "_Shape") -> bool:
        """Whether passes of the other shape can use this shape's graph."""
        if len(self.blocks) != len(other.blocks) or self.segments < other.segments:
            return False
        if self.pairs < other.pairs or (other.pairs == 0) != (self.pairs == 0):
            return False
        return all(own.holds(block) for own, block in zip(self.blocks, other.blocks, strict=True))


@dataclass(frozen=True, slots=True)
class Needed:
    """The shape that one pass needs, and which of the pass's jobs (owners) are in each of its blocks."""

    shape: _Shape
    owners: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, pack: Pack, shapes: Sequence[AdapterShape], weights: LossWeights) -> Self:
        """The shape needed for a pack, given the shapes of its owners' adapters and the weights of its targets."""
        tokens, targets = torch.bincount(pack.owners_T).tolist(), torch.bincount(pack.owners_N).tolist()
        by_adapter: dict[AdapterShape, list[int]] = {}
        for owner, adapter in enumerate(shapes):
            by_adapter.setdefault(adapter, []).append(owner)
        blocks = tuple(
            _Block(
                adapter,
                len(owners),
                # A padding token predicts the padding targets, so there has to be at least one.
                _rounded(max(tokens[owner] + (tokens[owner] == targets[owner]) for owner in owners)),
                power_of_two(max(16, *(targets[owner] for owner in owners))),
            )
            for adapter, owners in by_adapter.items()
        )
        # Each owner's block may end with a segment of padding.
        segments = power_of_two(len(pack.lengths) + len(shapes))
        pairs = power_of_two(weights.pairs.count) if weights.pairs is not None else 0
        return cls(_Shape(blocks, segments, pairs), tuple(map(tuple, by_adapter.values())))

    def sections(self, shape: _Shape) -> list[Section]:
        """The pass's owners in sections of a graph's shape; `shape` must be large enough for the needed shape."""
        return [
            Section(owners=owners, tokens=block.tokens, targets=block.targets)
            for owners, block in zip(self.owners, shape.blocks, strict=True)
        ]


class Buffers:
    """The tensors that one graph reads and writes, at fixed addresses."""

    def __init__(self, shape: _Shape, base: LoadedBase, decoder: Decoder) -> None:
        self._pairs = shape.pairs
        sizes = [shape.tokens] * 3 + [shape.targets] * 2 + [shape.segments + 1, shape.targets * (shape.pairs > 0)]
        self._inputs = torch.zeros(sum(sizes), dtype=torch.long, device=base.device)
        self.ids_T, self.positions_T, self.segment_T, self.predicting_N, self.targets_N, self.begins_S1, pair_N = (
            torch.split(self._inputs, sizes)
        )
        self._weights = torch.zeros(4 if shape.pairs else 1, shape.targets, device=base.device)
        self.weights = LossWeights.of_rows(self._weights.unbind(), pair_N if shape.pairs else None, shape.pairs)
        self.losses_N = torch.zeros(shape.targets, device=base.device)
        self.right_N = torch.zeros(shape.targets, dtype=torch.bool, device=base.device)
        self.cohorts = [base.slots.empty_cohort(block.owners, block.adapter) for block in shape.blocks]
        self.rotations = RotationBuffers(decoder.rotations, self.positions_T)

    def fill(self, layout: PassLayout, weights: LossWeights) -> None:
        """Copy a pass to the device, by two asynchronous copies."""
        begins_S1, segment_T = numbers_of(layout.lengths, len(self.begins_S1) - 1)
        numbers = [layout.ids_T, layout.positions_T, segment_T, layout.predicting_N, layout.targets_N, begins_S1]
        padded = weights.padded(layout.places_N, len(layout.targets_N), self._pairs)
        numbers += [] if padded.pairs is None else [padded.pairs.pair_N]
        copy_to_buffer(torch.cat(numbers), self._inputs)
        copy_to_buffer(torch.stack(padded.rows), self._weights)
        self.rotations.fill(self.positions_T)


class PassGraphs:
    """The graphs of one engine, made for shapes that recur.

    Args:
        base: the base whose slots hold the adapters.
        decoder: the base's decoder.
        capture: makes a graph of operations.
        fused: attention goes through torch's fused kernels; see `is_fused`.
        kept: how many graphs are kept; the least recently used are dropped first.

    """

    def __init__(
        self, base: LoadedBase, decoder: Decoder, capture: Capture, *, fused: bool = False, kept: int = _KEPT_GRAPHS
    ) -> None:
        self._base = base
        self._decoder = decoder
        # For each weight and token two operations in the forward pass and two in the backward pass.
        self._most_tokens = int(_MOST_OPERATIONS / (4 * base.model.num_parameters()))
        self._attention = FusedAttention if fused else MaskedAttention
        if not fused:
            self._most_tokens = min(self._most_tokens, _MOST_MASKED_TOKENS)
        self._graphs: GraphCache[_Shape, Buffers] = GraphCache(
            capture,
            most=kept,
            trials=1,
            rounding=rounding_of(base.dtype),
            warning=f"{base.location} is trained on without CUDA graphs, more slowly",
        )
        self._most_seen = 8 * kept
        self._seen: OrderedDict[_Shape, None] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether graphs are still used; after a graph has failed, none are."""
        return self._graphs.is_on

    @classmethod
    def of(cls, base: LoadedBase, capture: Capture | None, *, fused: bool) -> Self | None:
        """The graphs for an engine over this base; None: it uses none. `capture` None: CUDA graphs on a CUDA device."""
        capture = capture or capture_of(base.device, gpu_shortcuts=base.gpu_shortcuts)
        return None if capture is None or base.decoder is None else cls(base, base.decoder, capture, fused=fused)

    def scores(
        self, pack: Pack, slots: Sequence[int], weights: LossWeights, ordinary: Callable[[], TargetScores]
    ) -> TargetScores:
        """Compute what `passes.forward_backward` does, by a graph or else by `ordinary`.

        Returns the targets' scores; the gradients are in the slots.
        """
        if not self.is_on or any(prefix is not None for prefix in pack.prefixes):
            return ordinary()
        needed = Needed.of(pack, [self._base.slots.shape_of(slot) for slot in slots], weights)
        if needed.shape.tokens > self._most_tokens:
            return ordinary()
        found = self._graphs.attempt(lambda: self._from_graph(needed, pack, slots, weights, ordinary))
        return ordinary() if found is None else found

    def _from_graph(
        self,
        needed: Needed,
        pack: Pack,
        slots: Sequence[int],
        weights: LossWeights,
        ordinary: Callable[[], TargetScores],
    ) -> TargetScores:
        held = next((shape for shape in reversed(self._graphs) if shape.holds(needed.shape)), None)
        graph = None if held is None else self._graphs.get(held)
        if held is not None and graph is not None:
            return self._replayed(graph, pack, needed.sections(held), slots, weights)
        if not self._was_seen_before(needed.shape):
            return ordinary()
        return self._first(needed, pack, slots, weights, ordinary)

    def _was_seen_before(self, shape: _Shape) -> bool:
        if shape in self._seen:
            return True
        self._seen[shape] = None
        while len(self._seen) > self._most_seen:
            self._seen.popitem(last=False)
        return False

    def _first(
        self,
        needed: Needed,
        pack: Pack,
        slots: Sequence[int],
        weights: LossWeights,
        ordinary: Callable[[], TargetScores],
    ) -> TargetScores:
        """Make the shape's graph, and compare its results with those of the ordinary computation."""
        shape = needed.shape
        buffers = Buffers(shape, self._base, self._decoder)
        sections = needed.sections(shape)
        self._fill(buffers, pack, sections, slots, weights)
        graph = self._graphs.make(shape, self._operations(shape, sections, buffers), buffers)
        found = self._replayed(graph, pack, sections, slots, weights)
        found_JP = [self._base.slots.trainable(slot).gradients_P.clone() for slot in slots]
        wanted = ordinary()
        pairs = [(found.losses_N, wanted.losses_N)] + [
            (found_P, self._base.slots.trainable(slot).gradients_P)
            for slot, found_P in zip(slots, found_JP, strict=True)
        ]
        off = max(_difference(ours, right) for ours, right in pairs)
        self._graphs.judge(graph, off, "the numbers of one are off by {off} of their length")
        return wanted

    def _fill(
        self,
        buffers: Buffers,
        pack: Pack,
        sections: Sequence[Section],
        slots: Sequence[int],
        weights: LossWeights,
    ) -> Tensor:
        """Copy a pass and its adapters into the buffers; returns the indices of the pack's targets there."""
        layout = pad_to_sections(pack, sections, longest=max(section.tokens for section in sections))
        buffers.fill(layout, weights)
        for section, cohort in zip(sections, buffers.cohorts, strict=True):
            own = [self._base.slots.trainable(slots[owner]).weights_P for owner in section.owners]
            torch.stack(own, out=cohort.weights_JP)
        return layout.places_N

    def _replayed(
        self, graph: Graph[Buffers], pack: Pack, sections: Sequence[Section], slots: Sequence[int], weights: LossWeights
    ) -> TargetScores:
        places_N = self._fill(graph.content, pack, sections, slots, weights)
        graph.replay()
        for section, cohort in zip(sections, graph.content.cohorts, strict=True):
            own = [self._base.slots.trainable(slots[owner]).gradients_P for owner in section.owners]
            torch._foreach_copy_(own, list(cohort.gradients_JP.unbind()))
        return TargetScores(graph.content.losses_N, graph.content.right_N).on_cpu(places_N)

    def _operations(self, shape: _Shape, sections: Sequence[Section], buffers: Buffers) -> Operations:
        longest = max(block.tokens for block in shape.blocks)
        route = routes(sections, buffers.cohorts)

        def operations() -> None:
            for cohort in buffers.cohorts:
                cohort.refresh()
            pass_ = Pass(
                attention=self._attention(Borders(buffers.begins_S1.int(), buffers.segment_T, longest)),
                rotations=buffers.rotations.rotations(buffers.positions_T),
                route=route.all,
                tail_route=route.tail,
                kept_N=buffers.predicting_N,
            )
            trace = self._decoder.traced(buffers.ids_T, pass_)
            found = TargetLosses.of(trace.logits_NV, buffers.targets_N)
            buffers.losses_N.copy_(found.losses_N)
            buffers.right_N.copy_(found.right_N)
            trace.backward(found.gradient(buffers.weights.of(found.losses_N)))

        return operations


def _difference(found: Tensor, right: Tensor) -> float:
    """The norm of the difference relative to the norm of `right`; NaN if only `found` is not finite."""
    right = right.float()
    length = right.norm()
    return 0.0 if not length.isfinite() else float((found.float() - right).norm() / length.clamp_min(1e-12))


def _rounded(count: int) -> int:
    """Round up to a power of two or one and a half times a power of two; at least 16."""
    whole = power_of_two(max(16, count))
    return 3 * whole // 4 if count <= 3 * whole // 4 and whole > 16 else whole
