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
