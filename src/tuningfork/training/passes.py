"""One forward and backward pass over a pack: by the written-out decoder where the base has one, else by autograd.

Shape suffixes: T packed tokens, N targets (the tokens that are learned), V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.lora import BASE_ALONE, Slots
from tuningfork.training.batches import Pack
from tuningfork.training.loss import decoder_layers, recomputed, target_losses
from tuningfork.training.segments import SegmentAttention

_COARSE, _FINE = 16, 4
_FINE_FROM = 128
"""Small passes are rounded up to multiples of the coarse step, others to those of the fine one: 2 % of 200 tokens."""


def forward_backward(base: LoadedBase, pack: Pack, slots: Slots, weights_N: Tensor, *, keep: bool) -> Tensor:
    """Each target's loss in nats, `N` in fp32 on the CPU; gradients of their weighted sum are added to the slots'.

    Args:
        base: resident, with the adapters in its slots.
        pack: the pass's tokens.
        slots: whose adapter each token takes.
        weights_N: of the targets in the sum, fp32 on the CPU.
        keep: layers keep what the way back needs; False: it is computed again there, which takes a third longer.

    """
    if base.decoder is None:
        return _by_autograd(base, pack, slots, weights_N, keep=keep)
    device = base.device
    filling = rounded(len(pack.ids_T)) - len(pack.ids_T)
    lengths = (*pack.lengths, filling) if filling else pack.lengths
    if filling and isinstance(slots, Tensor):
        slots = pad(slots, (0, filling), value=BASE_ALONE)
    trace = base.decoder.trace(
        pad(pack.ids_T, (0, filling)).to(device),
        torch.cat((pack.positions_T, torch.arange(filling))).to(device),
        pack.predicting_N.to(device),
        SegmentAttention.of(lengths, device),
        slots,
        keep=keep,
    )
    losses_N, slopes_NV = cross_entropy(trace.logits_NV, pack.targets_N.to(device), weights_N.to(device))
    trace.backward(slopes_NV)
    return losses_N.cpu()


def rounded(tokens: int) -> int:
    """To how many tokens a pass is filled up, with a segment that nobody learns from.

    oneDNN compiles each product for its very number of rows, which takes longer than a small pass itself.
    """
    step = _COARSE if tokens < _FINE_FROM else _FINE
    return -(-tokens // step) * step


def cross_entropy(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> tuple[Tensor, Tensor]:
    """-log softmax(logits)[target] of each row, `N`, and the logits' gradient of the weighted sum, `NV`."""
    target_N1 = targets_N[:, None]
    slopes_NV = logits_NV - logits_NV.amax(dim=-1, keepdim=True)
    target_logits_N1 = slopes_NV.gather(1, target_N1)
    total_N1 = slopes_NV.exp_().sum(dim=-1, keepdim=True)
    weights_N1 = weights_N[:, None]
    slopes_NV.mul_(weights_N1 / total_N1).scatter_add_(1, target_N1, -weights_N1)
    return (total_N1.log() - target_logits_N1).squeeze(1), slopes_NV


def _by_autograd(base: LoadedBase, pack: Pack, slots: Slots, weights_N: Tensor, *, keep: bool) -> Tensor:
    with base.slots.routed(slots), recomputed(() if keep else decoder_layers(base.model)):
        losses_N = target_losses(base.model, pack)
        torch.autograd.backward((losses_N * weights_N.to(losses_N.device)).sum())
    return losses_N.detach().cpu()
