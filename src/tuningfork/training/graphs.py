"""Passes that a GPU runs again without being told each operation: CUDA graphs, forward and backward.

A pass's shape is rounded up, its operations read all that changes from buffers that stay where they are, and a graph
repeats them. Jobs that share a pass have blocks of one size each, filled up with tokens that nobody learns from, so
that few shapes serve all batches of a job. A shape's graph is made when it comes up for the second time.

No wrong number comes of it: a new graph's first pass is computed in the ordinary way too, and where the two differ by
more than rounding, or a graph cannot be made, there are no graphs any more.

Shape suffixes: T tokens of the pass, N targets, S segments, J adapters, P all numbers of one adapter.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
from tuningfork.modeling.capture import Capture, Operations, capture_of, power_of_two, rounding_of
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import Pass
from tuningfork.modeling.decoder.pieces import Rotation
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.batches import Pack
from tuningfork.training.loss import weighted_cross_entropy
from tuningfork.training.packed_attention import Borders, attention_over, is_fused, numbers_of
from tuningfork.training.sections import Layout, Section, lay_out, routes

logger = logging.getLogger(__name__)

_MOST_OPERATIONS = 3e13
"""Of a pass, floating-point: a GPU takes longer over more of them than Python takes to ask for each kernel."""
_MOST_MASKED_TOKENS = 2048
"""Where attention is not fused, every pair of tokens has a score."""
_KEPT_GRAPHS = 16
_FITTING = 2.0
"""A graph serves passes of as few as one over so many of its tokens."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Owners whose adapters have one shape, each with so many rows and targets."""

    adapter: AdapterShape
    owners: int
    tokens: int
    targets: int

    def holds(self, other: "_Block") -> bool:
        """Whether the other one's owners fit in, without being lost in it."""
        alike = self.adapter == other.adapter and self.owners == other.owners
        return alike and other.targets <= self.targets and other.tokens <= self.tokens <= _FITTING * other.tokens


@dataclass(frozen=True, slots=True)
class _Shape:
    """What distinguishes graphs. There may be so many segments."""

    blocks: tuple[_Block, ...]
    segments: int

    @property
    def tokens(self) -> int:
        return sum(block.owners * block.tokens for block in self.blocks)

    @property
    def targets(self) -> int:
        return sum(block.owners * block.targets for block in self.blocks)

    def holds(self, other: "_Shape") -> bool:
        """Whether passes of the other shape may take this one's graph."""
        if len(self.blocks) != len(other.blocks) or self.segments < other.segments:
            return False
        return all(own.holds(block) for own, block in zip(self.blocks, other.blocks, strict=True))


@dataclass(frozen=True, slots=True)
class Needed:
    """A pass's shape, and in which block each owner is."""

    shape: _Shape
    owners: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, pack: Pack, shapes: Sequence[AdapterShape]) -> Self:
        """What a pack needs whose owners' adapters have these shapes."""
        tokens, targets = torch.bincount(pack.owners_T).tolist(), torch.bincount(pack.owners_N).tolist()
        by_adapter: dict[AdapterShape, list[int]] = {}
        for owner, adapter in enumerate(shapes):
            by_adapter.setdefault(adapter, []).append(owner)
        blocks = tuple(
            _Block(
                adapter,
                len(owners),
                # A token that predicts nothing stands in for missing targets; there has to be one.
                _rounded(max(tokens[owner] + (tokens[owner] == targets[owner]) for owner in owners)),
                power_of_two(max(16, *(targets[owner] for owner in owners))),
            )
            for adapter, owners in by_adapter.items()
        )
        # Each owner's block may end with a segment of filling.
        segments = power_of_two(len(pack.lengths) + len(shapes))
        return cls(_Shape(blocks, segments), tuple(map(tuple, by_adapter.values())))

    def sections(self, shape: _Shape) -> list[Section]:
        """Where the owners are in a pass of this shape, which holds theirs."""
        return [
            Section(owners=owners, tokens=block.tokens, targets=block.targets)
            for owners, block in zip(self.owners, shape.blocks, strict=True)
        ]


class Buffers:
    """What one graph reads and writes, at addresses that never change."""

    def __init__(self, shape: _Shape, base: LoadedBase, decoder: Decoder) -> None:
        self._sizes = [shape.tokens] * 3 + [shape.targets] * 2 + [shape.segments + 1]
        self._inputs = torch.zeros(sum(self._sizes), dtype=torch.long, device=base.device)
        self.ids_T, self.positions_T, self.segment_T, self.predicting_N, self.targets_N, self.begins_S1 = torch.split(
            self._inputs, self._sizes
        )
        self.weights_N = torch.zeros(shape.targets, device=base.device)
        self.losses_N = torch.zeros(shape.targets, device=base.device)
        self.cohorts = [base.slots.empty_cohort(block.owners, block.adapter) for block in shape.blocks]
        # Some models look at the largest position first to choose their tables, which no graph does.
        self._tables = {kind: tables for kind, tables in decoder.rotations.items() if not tables.is_fixed}
        self.rotations = {kind: Rotation.of(*tables(self.positions_T)) for kind, tables in self._tables.items()}

    def fill(self, laid: Layout, weights_N: Tensor) -> None:
        """Hand a pass over, in two copies that nobody waits for."""
        begins_S1, segment_T = numbers_of(laid.lengths, len(self.begins_S1) - 1)
        numbers = torch.cat((laid.ids_T, laid.positions_T, segment_T, laid.predicting_N, laid.targets_N, begins_S1))
        laid_weights_N = torch.zeros(len(laid.targets_N)).index_copy_(0, laid.places_N, weights_N)
        for host, own in ((numbers, self._inputs), (laid_weights_N, self.weights_N)):
            own.copy_(host.pin_memory() if own.is_cuda else host, non_blocking=True)
        for kind, tables in self._tables.items():
            now, own_rotation = Rotation.of(*tables(self.positions_T)), self.rotations[kind]
            own_rotation.cos_T1K.copy_(now.cos_T1K)
            own_rotation.sin_T1K.copy_(now.sin_T1K)


@dataclass(frozen=True, slots=True)
class _Graph:
    buffers: Buffers
    operations: Operations
    """Kept, since a graph does not hold the tensors whose addresses it knows."""
    replay: Operations


class PassGraphs:
    """One engine's graphs, made as shapes come up.

    Args:
        base: its slots hold the adapters.
        decoder: the base's.
        capture: what keeps operations.
        kept: of more graphs those go that were not used for the longest time.

    """

    def __init__(self, base: LoadedBase, decoder: Decoder, capture: Capture, *, kept: int = _KEPT_GRAPHS) -> None:
        self._base = base
        self._decoder = decoder
        self._capture = capture
        self._kept = kept
        # Two operations a weight and token on the way forward, and two on the way back.
        self._most_tokens = int(_MOST_OPERATIONS / (4 * base.model.num_parameters()))
        if not is_fused(decoder):
            self._most_tokens = min(self._most_tokens, _MOST_MASKED_TOKENS)
        self._graphs: OrderedDict[_Shape, _Graph] = OrderedDict()
        self._met: OrderedDict[_Shape, None] = OrderedDict()
        self.is_on = True

    @classmethod
    def of(cls, base: LoadedBase, capture: Capture | None) -> Self | None:
        """What the engine over this base uses; `capture` None: graphs on CUDA, nothing elsewhere."""
        capture = capture or capture_of(base.device)
        return None if capture is None or base.decoder is None else cls(base, base.decoder, capture)

    def losses(self, pack: Pack, slots: Sequence[int], weights_N: Tensor, ordinary: Callable[[], Tensor]) -> Tensor:
        """What `passes.forward_backward` gives and leaves: from a graph, or by the ordinary computation."""
        if not self.is_on or any(before is not None for before in pack.continued):
            return ordinary()
        needed = Needed.of(pack, [self._base.slots.shape_of(slot) for slot in slots])
        if needed.shape.tokens > self._most_tokens:
            return ordinary()
        held = next((shape for shape in reversed(self._graphs) if shape.holds(needed.shape)), None)
        try:
            if held is not None:
                self._graphs.move_to_end(held)
                return self._replayed(self._graphs[held], pack, needed.sections(held), slots, weights_N)
            if not self._meets_again(needed.shape):
                return ordinary()
            return self._first(needed, pack, slots, weights_N, ordinary)
        except RuntimeError as error:
            self._give_up(f"one could not be made or run: {error}")
            return ordinary()

    def _meets_again(self, shape: _Shape) -> bool:
        if shape in self._met:
            return True
        self._met[shape] = None
        while len(self._met) > 8 * self._kept:
            self._met.popitem(last=False)
        return False

    def _first(
        self, needed: Needed, pack: Pack, slots: Sequence[int], weights_N: Tensor, ordinary: Callable[[], Tensor]
    ) -> Tensor:
        """Make the shape's graph, and see that it computes what the ordinary way does."""
        shape = needed.shape
        buffers = Buffers(shape, self._base, self._decoder)
        sections = needed.sections(shape)
        self._fill(buffers, pack, sections, slots, weights_N)
        operations = self._operations(shape, sections, buffers)
        graph = self._graphs[shape] = _Graph(buffers, operations, self._capture(operations))
        while len(self._graphs) > self._kept:
            self._graphs.popitem(last=False)
        found_N = self._replayed(graph, pack, sections, slots, weights_N)
        found_JP = [self._base.slots.trainable(slot).gradients_P.clone() for slot in slots]
        right_N = ordinary()
        pairs = [(found_N, right_N)] + [
            (found_P, self._base.slots.trainable(slot).gradients_P)
            for slot, found_P in zip(slots, found_JP, strict=True)
        ]
        off = max(_difference(found, right) for found, right in pairs)
        if not off <= rounding_of(self._base.dtype):
            self._give_up(f"the numbers of one are off by {off:.2g} of their length")
        return right_N

    def _fill(
        self,
        buffers: Buffers,
        pack: Pack,
        sections: Sequence[Section],
        slots: Sequence[int],
        weights_N: Tensor,
    ) -> Tensor:
        """Hand a pass and its adapters over; returns where its targets are."""
        laid = lay_out(pack, sections, longest=max(section.tokens for section in sections))
        buffers.fill(laid, weights_N)
        for section, cohort in zip(sections, buffers.cohorts, strict=True):
            own = [self._base.slots.trainable(slots[owner]).weights_P for owner in section.owners]
            torch.stack(own, out=cohort.weights_JP)
        return laid.places_N

    def _replayed(
        self, graph: _Graph, pack: Pack, sections: Sequence[Section], slots: Sequence[int], weights_N: Tensor
    ) -> Tensor:
        places_N = self._fill(graph.buffers, pack, sections, slots, weights_N)
        graph.replay()
        for section, cohort in zip(sections, graph.buffers.cohorts, strict=True):
            own = [self._base.slots.trainable(slots[owner]).gradients_P for owner in section.owners]
            torch._foreach_copy_(own, list(cohort.gradients_JP.unbind()))
        return graph.buffers.losses_N.cpu()[places_N]

    def _operations(self, shape: _Shape, sections: Sequence[Section], buffers: Buffers) -> Operations:
        longest = max(block.tokens for block in shape.blocks)
        route = routes(sections, buffers.cohorts)
        fixed = {kind: tables for kind, tables in self._decoder.rotations.items() if tables.is_fixed}

        def operations() -> None:
            for cohort in buffers.cohorts:
                cohort.refresh()
            rotations = {kind: Rotation.of(*tables(buffers.positions_T)) for kind, tables in fixed.items()}
            pass_ = Pass(
                attention=attention_over(self._decoder, Borders(buffers.begins_S1.int(), buffers.segment_T, longest)),
                rotations=buffers.rotations | rotations,
                route=route.all,
                tail_route=route.tail,
                kept_N=buffers.predicting_N,
            )
            trace = self._decoder.traced(buffers.ids_T, pass_)
            losses_N, slopes_NV = weighted_cross_entropy(trace.logits_NV, buffers.targets_N, buffers.weights_N)
            buffers.losses_N.copy_(losses_N)
            trace.backward(slopes_NV)

        return operations

    def _give_up(self, reason: str) -> None:
        self.is_on = False
        self._graphs.clear()
        logger.warning("%s is trained on without CUDA graphs, more slowly: %s", self._base.location, reason)


def _difference(found: Tensor, right: Tensor) -> float:
    """The length of the difference as a share of the length; NaN where only ours is not finite."""
    right = right.float()
    length = right.norm()
    return 0.0 if not length.isfinite() else float((found.float() - right).norm() / length.clamp_min(1e-12))


def _rounded(count: int) -> int:
    """The next power of two, or the one half-way to it; at least 16."""
    whole = power_of_two(max(16, count))
    return 3 * whole // 4 if count <= 3 * whole // 4 and whole > 16 else whole
