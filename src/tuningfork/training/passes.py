"""One forward and backward pass over a pack: by the project's own decoder if it supports the base, else by autograd.

Shape suffixes: T packed tokens, N targets (the tokens that are trained on).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch

from tuningfork.modeling.adapters.cohorts import Cohort
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import Pass, TracedAttention
from tuningfork.modeling.decoder.pieces import PIECE_PRODUCTS, run_to_end
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.attention.packed_attention import Borders, FusedAttention
from tuningfork.training.attention.segments import SegmentAttention
from tuningfork.training.batches import Pack
from tuningfork.training.loss import HeadLosses, TargetScores, decoder_layers, recomputed, scores_of, target_logits
from tuningfork.training.objectives import LossWeights
from tuningfork.training.sections import PassLayout, Section, Share, pad_to_sections, routes, sections_of

_LOGITS_PER_PASS = 2**28
"""The most logits, targets times vocabulary, of a pass of several examples: 1 GiB in fp32."""

_LOGITS_PER_BLOCK_ON_CPU = 2**25
"""The most logits that are in memory at a time on a CPU: 128 MiB in fp32. Products with more rows are no faster there,
and several passes may be suspended with their logits in memory. On a GPU all logits of such a pass are."""

_SMALL_PRODUCT = 16**3
"""For bfloat16 products of up to this many multiplications torch uses another algorithm, whose rounding differs. For a
batched product it counts the multiplications of the whole batch. So rows are padded until each job's products alone are
larger, and a job's results do not depend on the batch."""


def forward_backward(
    base: LoadedBase,
    pack: Pack,
    slots: Sequence[int],
    weights: LossWeights,
    *,
    keep: bool,
    lane: int = 0,
    fused: bool = False,
    piece: int = PIECE_PRODUCTS,
) -> TargetScores:
    """`in_parts`, all parts at once."""
    return run_to_end(in_parts(base, pack, slots, weights, keep=keep, lane=lane, fused=fused, piece=piece))


def in_parts(
    base: LoadedBase,
    pack: Pack,
    slots: Sequence[int],
    weights: LossWeights,
    *,
    keep: bool,
    lane: int = 0,
    fused: bool = False,
    piece: int = PIECE_PRODUCTS,
) -> Generator[None, None, TargetScores]:
    """Compute each target's loss, and write the gradient of the losses' weighted sum into the slots.

    Yields after each layer, forward and backward, and on a CPU also between the pieces of a layer over many tokens, if
    our own decoder runs the pass. Until the next part is asked for, other passes may be run in other lanes, over other
    slots; no number depends on that. Closing the generator gives the pass up: the slots' gradients are then undefined.
    Returns the targets' scores, on the CPU.

    Args:
        base: the base with the adapters in its slots.
        pack: the pass's tokens.
        slots: the slot of each owner's adapter; all different and trainable.
        weights: the targets' weights in the sum, on the CPU; the gradient treats them as constants.
        keep: whether activations are kept for the backward pass; if not, they are computed again (activation
            checkpointing), which takes a third longer.
        lane: passes in different lanes, over different slots, may run in parallel.
        fused: attention may go through torch's fused kernels; see `is_fused`.
        piece: about how many multiplications of a long segment's attention are one piece.

    """
    if base.decoder is None:
        return _by_autograd(base, pack, slots, weights, keep=keep)
    device = base.device
    ready = _Ready.of(base, base.decoder, pack, slots, lane=lane, fused=fused, piece=piece)
    layout = ready.layout
    stem = yield from base.decoder.tracing_stem(layout.ids_T.to(device), ready.pass_, keep=keep)
    padded_weights = weights.padded(layout.places_N, len(layout.targets_N)).to(device)
    head = HeadLosses(base.decoder, stem.read_ND, layout.targets_N.to(device), targets_per_block(base))
    scores, read_grad_ND = yield from head.differentiating(padded_weights)
    yield from stem.going_back(read_grad_ND)
    for section, cohort in zip(ready.members, ready.cohorts, strict=True):
        base.slots.copy_gradients(section, cohort)
    return scores.on_cpu(layout.places_N)


def targets_per_pass(base: LoadedBase) -> int:
    """How many targets a pass over this base has at most, apart from an example that has more."""
    return _LOGITS_PER_PASS // int(base.model.config.get_text_config().vocab_size)


def targets_per_block(base: LoadedBase) -> int:
    """How many targets' logits a pass over this base has in memory at a time."""
    if base.device.type != "cpu":
        return targets_per_pass(base)
    return max(1, _LOGITS_PER_BLOCK_ON_CPU // int(base.model.config.get_text_config().vocab_size))


@torch.no_grad()
def forward_in_parts(
    base: LoadedBase,
    pack: Pack,
    slots: Sequence[int],
    *,
    lane: int = 0,
    fused: bool = False,
    piece: int = PIECE_PRODUCTS,
) -> Generator[None, None, TargetScores]:
    """The forward pass of `in_parts` alone, with identical scores; no gradients. Yields like `in_parts`.

    Args:
        base: the base with the adapters in its slots.
        pack: the pass's tokens.
        slots: the slot of each owner's adapter; all different and trainable.
        lane: see `in_parts`.
        fused: see `in_parts`.
        piece: see `in_parts`.

    """
    if base.decoder is None:
        with base.slots.routed(torch.tensor(slots)[pack.owners_T]):
            return scores_of(target_logits(base.model, pack), pack.targets_N).on_cpu()
    ready = _Ready.of(base, base.decoder, pack, slots, lane=lane, fused=fused, piece=piece)
    layout = ready.layout
    read_ND = yield from base.decoder.going_forward(layout.ids_T.to(base.device), ready.pass_)
    head = HeadLosses(base.decoder, read_ND, layout.targets_N.to(base.device), targets_per_block(base))
    return (yield from head.scoring()).on_cpu(layout.places_N)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A pass that can be run: its layout and, for each section, the slots and the cohort of its adapters."""

    layout: PassLayout
    members: list[list[int]]
    cohorts: list[Cohort]
    pass_: Pass

    @classmethod
    def of(
        cls,
        base: LoadedBase,
        decoder: Decoder,
        pack: Pack,
        slots: Sequence[int],
        *,
        lane: int,
        fused: bool,
        piece: int,
    ) -> "_Ready":
        device = base.device
        sections = _sections(base, pack, slots)
        layout = pad_to_sections(pack, sections)
        members = [[slots[owner] for owner in section.owners] for section in sections]
        cohorts = base.slots.cohorts(members, lane=lane)
        pass_ = decoder.pass_over(
            layout.positions_T.to(device),
            layout.predicting_N.to(device),
            _attention(layout, device, fused=fused, piece=piece),
            routes(sections, cohorts),
        )
        return cls(layout, members, cohorts, pass_)


def _attention(layout: PassLayout, device: torch.device, *, fused: bool, piece: int) -> TracedAttention:
    if fused and not any(prefix is not None for prefix in layout.prefixes):
        return FusedAttention(Borders.of(layout.lengths, device))
    return SegmentAttention.of(layout.lengths, device, layout.prefixes, piece=piece)


def _sections(base: LoadedBase, pack: Pack, slots: Sequence[int]) -> list[Section]:
    shapes = [base.slots.shape_of(slot) for slot in slots]
    tokens, targets = torch.bincount(pack.owners_T).tolist(), torch.bincount(pack.owners_N).tolist()
    shares = [
        Share(owner=owner, kind=shape, tokens=tokens[owner], targets=targets[owner])
        for owner, shape in enumerate(shapes)
    ]
    least = 1
    if base.device.type == "cpu" and base.dtype == torch.bfloat16:
        narrowest = min(min(layer.in_features, layer.out_features) for layer in base.slots.layers.values())
        least = _SMALL_PRODUCT // (narrowest * min(shape.rank for shape in shapes)) + 1
    return sections_of(shares, least=least)


def _by_autograd(
    base: LoadedBase, pack: Pack, slots: Sequence[int], weights: LossWeights, *, keep: bool
) -> TargetScores:
    for slot in slots:
        base.slots.trainable(slot).gradients_P.zero_()
    routed = slots[0] if len(slots) == 1 else torch.tensor(slots)[pack.owners_T]
    with base.slots.routed(routed), recomputed(() if keep else decoder_layers(base.model)):
        scores = scores_of(target_logits(base.model, pack), pack.targets_N)
        losses_N = scores.losses_N
        weights_N = weights.to(losses_N.device).of(losses_N.detach())
        torch.autograd.backward((losses_N * weights_N).sum())
    return TargetScores(losses_N.detach(), scores.right_N).on_cpu()
