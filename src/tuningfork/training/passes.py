"""One forward and backward pass over a pack: by the written-out decoder where the base has one, else by autograd.

Shape suffixes: T packed tokens, N targets (the tokens that are learned).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import TracedAttention
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.batches import Pack
from tuningfork.training.loss import decoder_layers, recomputed, target_losses, weighted_cross_entropy
from tuningfork.training.packed_attention import Borders, FusedAttention, is_fused
from tuningfork.training.sections import Layout, Section, Share, lay_out, routes, sections_of
from tuningfork.training.segments import SegmentAttention

_SMALL_PRODUCT = 16**3
"""Torch computes bfloat16 products of up to so many multiplications in another way than larger ones, batches of them
counted whole; rows are filled up to where each one alone is larger."""


def forward_backward(
    base: LoadedBase, pack: Pack, slots: Sequence[int], weights_N: Tensor, *, keep: bool, lane: int = 0
) -> Tensor:
    """Each target's loss in nats, `N` in fp32 on the CPU; the slots' gradients become those of their weighted sum.

    Args:
        base: resident, with the adapters in its slots.
        pack: the pass's tokens.
        slots: whose adapter each owner's tokens take; all different, and trained.
        weights_N: of the targets in the sum, fp32 on the CPU.
        keep: layers keep what the way back needs; False: it is computed again there, which takes a third longer.
        lane: passes of different lanes, over different slots, may be computed at the same time.

    """
    if base.decoder is None:
        return _by_autograd(base, pack, slots, weights_N, keep=keep)
    device = base.device
    sections = _sections(base, pack, slots)
    laid = lay_out(pack, sections)
    members = [[slots[owner] for owner in section.owners] for section in sections]
    cohorts = base.slots.cohorts(members, lane=lane)
    trace = base.decoder.trace(
        laid.ids_T.to(device),
        laid.positions_T.to(device),
        laid.predicting_N.to(device),
        _attention(base.decoder, laid, device),
        routes(sections, cohorts),
        keep=keep,
    )
    laid_weights_N = torch.zeros(len(laid.targets_N)).index_copy_(0, laid.places_N, weights_N)
    losses_N, slopes_NV = weighted_cross_entropy(trace.logits_NV, laid.targets_N.to(device), laid_weights_N.to(device))
    trace.backward(slopes_NV)
    for section, cohort in zip(members, cohorts, strict=True):
        base.slots.give_back(section, cohort)
    return losses_N.cpu()[laid.places_N]


def _attention(decoder: Decoder, laid: Layout, device: torch.device) -> TracedAttention:
    if is_fused(decoder) and not any(before is not None for before in laid.continued):
        return FusedAttention(Borders.of(laid.lengths, device))
    return SegmentAttention.of(laid.lengths, device, laid.continued)


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


def _by_autograd(base: LoadedBase, pack: Pack, slots: Sequence[int], weights_N: Tensor, *, keep: bool) -> Tensor:
    for slot in slots:
        base.slots.trainable(slot).gradients_P.zero_()
    routed = slots[0] if len(slots) == 1 else torch.tensor(slots)[pack.owners_T]
    with base.slots.routed(routed), recomputed(() if keep else decoder_layers(base.model)):
        losses_N = target_losses(base.model, pack)
        torch.autograd.backward((losses_N * weights_N.to(losses_N.device)).sum())
    return losses_N.detach().cpu()
