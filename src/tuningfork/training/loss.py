"""The cross-entropy loss of each target: the output tokens and the token that ends the turn.

Logits are computed only where there is a target. With p the model's distribution after the tokens before target n,

    loss_n = -log p(target_n),        d loss_n / d logits = p - (1 at target_n, 0 elsewhere).

How these losses make up a job's loss is defined by its objective (`objectives`).

Shape suffixes: T packed tokens, N targets, D hidden features, V vocabulary.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.pieces import even_blocks
from tuningfork.training.attention.padded import plan_of
from tuningfork.training.batches import Pack
from tuningfork.training.objectives import LossWeights


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
    return scores_of(target_logits(model, pack), pack.targets_N).losses_N


def scores_of(logits_NV: Tensor, targets_N: Tensor) -> "TargetScores":
    """The scores of targets with these logits; their losses can be differentiated."""
    targets_N = targets_N.to(logits_NV.device)
    chosen_N1 = logits_NV.detach().gather(1, targets_N[:, None])
    right_N = (chosen_N1 == logits_NV.detach().amax(dim=-1, keepdim=True)).squeeze(1)
    return TargetScores(cross_entropy(logits_NV, targets_N, reduction="none"), right_N)


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Each target's loss in nats, `N` in fp32, and whether no token was likelier than the target, `N`."""

    losses_N: Tensor
    right_N: Tensor

    def on_cpu(self, places_N: Tensor | None = None) -> "TargetScores":
        """The scores of the targets at these places (None: of all) on the CPU, by one copy."""
        scores_2N = torch.stack((self.losses_N, self.right_N.to(self.losses_N.dtype))).cpu()
        losses_N, right_N = scores_2N if places_N is None else scores_2N[:, places_N]
        return TargetScores(losses_N, right_N.bool())


@dataclass(frozen=True, slots=True)
class TargetLosses:
    """The loss of each target, `losses_N` in nats, and what is needed for the gradient of their weighted sum.

    `right_N` is whether no token was likelier than the target.
    """

    losses_N: Tensor
    right_N: Tensor
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
        losses_N = (totals_N1.log() - target_logits_N1).squeeze(1)
        # The largest logit of a row is 0 now.
        return cls(losses_N, (target_logits_N1 == 0).squeeze(1), targets_N1, exps_NV, totals_N1)

    def gradient(self, weights_N: Tensor) -> Tensor:
        """The gradient of the weighted sum with respect to the logits, `NV`.

        May be called once: it reuses its inputs' memory.
        """
        weights_N1 = weights_N[:, None]
        return self._exps_NV.mul_(weights_N1 / self._totals_N1).scatter_add_(1, self._targets_N1, -weights_N1)


@dataclass(frozen=True, slots=True)
class HeadLosses:
    """The losses of a pass's targets, from what the head reads (`read_ND`), in blocks of `most` targets.

    So the logits of no more targets are in memory, however many an example has.
    """

    decoder: Decoder
    read_ND: Tensor
    targets_N: Tensor
    most: int

    @torch.no_grad()
    def scoring(self) -> Generator[None, None, TargetScores]:
        """The scores of all targets, on the CPU. Yields within a block."""
        losses, right = [], []
        for begin, end in even_blocks(len(self.targets_N), self.most):
            found, _ = yield from self._block(begin, end)
            scores = TargetScores(found.losses_N, found.right_N).on_cpu()
            losses.append(scores.losses_N)
            right.append(scores.right_N)
        return TargetScores(torch.cat(losses), torch.cat(right))

    @torch.no_grad()
    def differentiating(self, weights: LossWeights) -> Generator[None, None, tuple[TargetScores, Tensor]]:
        """The scores, and the gradient of the losses' weighted sum with respect to `read_ND`. Yields within a block."""
        losses_N = torch.empty(self.targets_N.shape, dtype=torch.float32, device=self.read_ND.device)
        right_N = torch.empty_like(losses_N, dtype=torch.bool)
        grad_ND = torch.empty_like(self.read_ND)
        blocks = even_blocks(len(losses_N), self.most)
        # The weights of pairs depend on the losses of all blocks, so that the logits of all but one are needed twice.
        wait = weights.pairs is not None and len(blocks) > 1
        for begin, end in blocks if wait else ():
            found, _ = yield from self._block(begin, end)
            losses_N[begin:end] = found.losses_N
        for begin, end in blocks:
            found, logits_NV = yield from self._block(begin, end)
            losses_N[begin:end], right_N[begin:end] = found.losses_N, found.right_N
            yield
            grad_NV = found.gradient(weights.of(losses_N)[begin:end])
            grad_ND[begin:end] = yield from self.decoder.going_back_through_head(grad_NV, logits_NV)
        return TargetScores(losses_N, right_N), grad_ND

    def _block(self, begin: int, end: int) -> Generator[None, None, tuple[TargetLosses, Tensor]]:
        logits_NV = yield from self.decoder.going_through_head(self.read_ND[begin:end])
        yield
        return TargetLosses.of(logits_NV, self.targets_N[begin:end]), logits_NV


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
