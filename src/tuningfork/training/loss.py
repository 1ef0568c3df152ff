"""The loss: cross-entropy of the output tokens and of the one that ends the turn, and of nothing else.

Logits are computed only where there is a target. With p the model's distribution after the tokens before target n,

    loss_n = -log p(target_n),        job's loss = mean of loss_n over the targets of its batch.

Shape suffixes: T packed tokens, N targets, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tuningfork.training.attention import plan_of
from tuningfork.training.batches import Pack


def target_losses(model: PreTrainedModel, pack: Pack) -> Tensor:
    """The loss of every target of the pack in nats, `N`, in fp32, under whatever adapters are routed."""
    device = model.device
    logits_1NV = model(
        input_ids=pack.ids_T[None].to(device),
        position_ids=pack.positions_T[None].to(device),
        use_cache=False,
        logits_to_keep=pack.predicting_N.to(device),
        attention_plan=plan_of(pack.lengths, device),
    ).logits
    return cross_entropy(logits_1NV[0].float(), pack.targets_N.to(device), reduction="none")


def weighted_cross_entropy(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> tuple[Tensor, Tensor]:
    """-log softmax(logits)[target] of each row, `N`, and the logits' gradient of the weighted sum, `NV`."""
    target_N1 = targets_N[:, None]
    slopes_NV = logits_NV - logits_NV.amax(dim=-1, keepdim=True)
    target_logits_N1 = slopes_NV.gather(1, target_N1)
    total_N1 = slopes_NV.exp_().sum(dim=-1, keepdim=True)
    weights_N1 = weights_N[:, None]
    slopes_NV.mul_(weights_N1 / total_N1).scatter_add_(1, target_N1, -weights_N1)
    return (total_N1.log() - target_logits_N1).squeeze(1), slopes_NV


@contextmanager
def recomputed(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Inside the block these layers keep only their inputs for the backward pass and compute the rest again.

    Activation checkpointing (Chen et al. 2016): the same numbers for a third more computing.
    """
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            # The instance's attribute goes; the class's method shows again.
            del layer.forward


def decoder_layers(model: PreTrainedModel) -> Sequence[nn.Module]:
    """The model's stack of equal blocks: the longest module list of its text decoder."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    stacks = [list(module) for module in decoder.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len, default=[])
