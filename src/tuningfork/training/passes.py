"""One forward and backward pass over a pack: by the written-out decoder where the base has one, else by autograd.

Shape suffixes: T packed tokens, N targets (the tokens that are learned), V vocabulary.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from tuningfork.modeling.adapter_cohorts import Cohort
from tuningfork.modeling.adapter_routes import Composite, Route, Routes
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.batches import Pack
from tuningfork.training.loss import decoder_layers, recomputed, target_losses
from tuningfork.training.sections import Section, Share, lay_out, sections_of
from tuningfork.training.segments import SegmentAttention

_SMALL_PRODUCT = 16**3
"""Torch computes bfloat16 products of up to so many multiplications in another way than larger ones, batches of them
counted whole; rows are filled up to where each one alone is larger."""


def forward_backward(base: LoadedBase, pack: Pack, slots: Sequence[int], weights_N: Tensor, *, keep: bool) -> Tensor:
    """Each target's loss in nats, `N` in fp32 on the CPU; the slots' gradients become those of their weighted sum.

    Args:
        base: resident, with the adapters in its slots.
        pack: the pass's tokens.
        slots: whose adapter each owner's tokens take; all different, and trained.
        weights_N: of the targets in the sum, fp32 on the CPU.
        keep: layers keep what the way back needs; False: it is computed again there, which takes a third longer.

    """
    if base.decoder is None:
        return _by_autograd(base, pack, slots, weights_N, keep=keep)
    device = base.device
    sections = _sections(base, pack, slots)
    laid = lay_out(pack, sections)
    members = [[slots[owner] for owner in section.owners] for section in sections]
    cohorts = base.slots.cohorts(members)
    trace = base.decoder.trace(
        laid.ids_T.to(device),
        laid.positions_T.to(device),
        laid.predicting_N.to(device),
        SegmentAttention.of(laid.lengths, device, laid.continued),
        _routes(sections, cohorts),
        keep=keep,
    )
    laid_weights_N = torch.zeros(len(laid.targets_N)).index_copy_(0, laid.places_N, weights_N)
    losses_N, slopes_NV = cross_entropy(trace.logits_NV, laid.targets_N.to(device), laid_weights_N.to(device))
    trace.backward(slopes_NV)
    for section, cohort in zip(members, cohorts, strict=True):
        base.slots.give_back(section, cohort)
    return losses_N.cpu()[laid.places_N]


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


def _routes(sections: Sequence[Section], cohorts: Sequence[Cohort]) -> Routes:
    return Routes(
        all=_route([len(section.owners) * section.tokens for section in sections], cohorts),
        tail=_route([len(section.owners) * section.targets for section in sections], cohorts),
    )


def _route(counts: Sequence[int], cohorts: Sequence[Cohort]) -> Route:
    if len(cohorts) == 1:
        return cohorts[0]
    begins = [0, *accumulate(counts)]
    return Composite([(slice(*rows), cohort) for rows, cohort in zip(pairwise(begins), cohorts, strict=True)])


def cross_entropy(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> tuple[Tensor, Tensor]:
    """-log softmax(logits)[target] of each row, `N`, and the logits' gradient of the weighted sum, `NV`."""
    target_N1 = targets_N[:, None]
    slopes_NV = logits_NV - logits_NV.amax(dim=-1, keepdim=True)
    target_logits_N1 = slopes_NV.gather(1, target_N1)
    total_N1 = slopes_NV.exp_().sum(dim=-1, keepdim=True)
    weights_N1 = weights_N[:, None]
    slopes_NV.mul_(weights_N1 / total_N1).scatter_add_(1, target_N1, -weights_N1)
    return (total_N1.log() - target_logits_N1).squeeze(1), slopes_NV


def _by_autograd(base: LoadedBase, pack: Pack, slots: Sequence[int], weights_N: Tensor, *, keep: bool) -> Tensor:
    for slot in slots:
        base.slots.trainable(slot).gradients_P.zero_()
    routed = slots[0] if len(slots) == 1 else torch.tensor(slots)[pack.owners_T]
    with base.slots.routed(routed), recomputed(() if keep else decoder_layers(base.model)):
        losses_N = target_losses(base.model, pack)
        torch.autograd.backward((losses_N * weights_N.to(losses_N.device)).sum())
    return losses_N.detach().cpu()
