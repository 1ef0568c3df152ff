"""The cross-entropy loss of each target: the output tokens and the token that ends the turn.

Logits are computed only where there is a target. With p the model's distribution after the tokens before target n,

    loss_n = -log p(target_n),        d loss_n / d logits = p - (1 at target_n, 0 elsewhere).

How these losses make up a job's loss is defined by its objective (`objectives`).

Shape suffixes: T packed tokens, N targets, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tuningfork.training.attention.padded import plan_of
from tuningfork.training.batches import Pack


def target_logits(model: PreTrainedModel, pack: Pack) -> Tensor:
    """The logits that predict the pack's targets, `NV` in fp32, with the adapters selected by `AdapterSlots.routed`."""
    device = model.device
    logits_1NV: Tensor = model(
        input_ids=pack.ids_T[None].to(device),
        position_ids=pack.positions_T[None].to(device),
        use_cache=False,
        logits_to_keep=pack.predicting_N.to(device),
        attention_plan=plan_of(pack.lengths, device),
    ).logits
    return logits_1NV[0].float()


def target_losses(model: PreTrainedModel, pack: Pack) -> Tensor:
    """The loss of every target of the pack in nats, `N` in fp32, with the adapters of `AdapterSlots.routed`."""
    return cross_entropy(target_logits(model, pack), pack.targets_N.to(model.device), reduction="none")


@dataclass(frozen=True, slots=True)
class TargetLosses:
    """The loss of each target, `losses_N` in nats, and what is needed for the gradient of their weighted sum."""

    losses_N: Tensor
    _targets_N1: Tensor
    _exps_NV: Tensor
    _totals_N1: Tensor

    @classmethod
    def of(cls, logits_NV: Tensor, targets_N: Tensor) -> Self:
        """-log softmax(logits)[target] of each row."""
        targets_N1 = targets_N[:, None]
        exps_NV = logits_NV - logits_NV.amax(dim=-1, keepdim=True)
        target_logits_N1 = exps_NV.gather(1, targets_N1)
        totals_N1 = exps_NV.exp_().sum(dim=-1, keepdim=True)
        return cls((totals_N1.log() - target_logits_N1).squeeze(1), targets_N1, exps_NV, totals_N1)

    def gradient(self, weights_N: Tensor) -> Tensor:
        """The gradient of the weighted sum with respect to the logits, `NV`.

        May be called once: it reuses its inputs' memory.
        """
        weights_N1 = weights_N[:, None]
        return self._exps_NV.mul_(weights_N1 / self._totals_N1).scatter_add_(1, self._targets_N1, -weights_N1)


@contextmanager
def recomputed(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Use activation checkpointing for these layers within the `with` block.

    They keep only their inputs and compute the rest again in the backward pass (Chen et al. 2016): the same numbers for
    a third more computing.
    """
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            # Delete the instance's attribute, so that the class's method is used again.
            del layer.forward


def decoder_layers(model: PreTrainedModel) -> Sequence[nn.Module]:
    """The model's decoder layers: the longest module list of its text decoder."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    stacks = [list(module) for module in decoder.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len, default=[])
