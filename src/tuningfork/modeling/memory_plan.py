"""Memory is planned before a base is loaded: what it needs in the type that it computes in, against what there is.

The weights are counted on the base's skeleton, exactly; what a job and a cache need is estimated from the same shapes.
A base that cannot fit is refused in words, not by the system's killer of processes. Nothing is promised about two
processes that load in the same second: each takes what both saw.
"""

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from tuningfork.modeling.available_memory import Memory, available_memory
from tuningfork.modeling.skeleton import read_config, skeleton

LEAST_TOKENS = 2048
"""A base that cannot work on so many tokens at once, in one pass or in one answer's context, is of no use."""
_LEAST_TARGETS = 512
_FLAT_COPIES = 5
"""Of an adapter's numbers in fp32 while it is trained: weights, their gradients, two moments, and an update."""
_LOGIT_COPIES = 3
"""Of the targets' logits in fp32 in a backward pass."""

_MOST_CACHE_BYTES = 2 * 2**30
_UNKNOWN_PASS_BYTES = 2**30
"""For training passes where the system does not tell its memory."""

_NOT_FORESEEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, AttributeError)
"""What transformers raises for files it cannot read or an architecture it does not know, or lacks the usual names."""


class HasFeatures(Protocol):
    """A linear layer, whatever adapters it has."""

    in_features: int
    out_features: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What an architecture costs in one floating-point type, in bytes, or as said.

    Attributes:
        parameters: all weights, tied ones once.
        buffers: the tables beside them.
        linears: of the parameters, the weights of the linear layers that adapters sit at.
        head: of the parameters, those of the output head, which may be the embeddings' own.
        cache_per_token: keys and values of all layers.
        kept_per_token: what all layers keep of a token between forward and backward pass.
        hidden_per_token: what of it is left if layers are computed twice: the input of each.
        adapter_numbers: of an adapter of rank 1 (numbers, not bytes).
        layers: of the decoder (a count).
        vocabulary: of the head (a count).
        itemsize: of one number.

    """

    parameters: int
    buffers: int
    linears: int
    head: int
    cache_per_token: int
    kept_per_token: int
    hidden_per_token: int
    adapter_numbers: int
    layers: int
    vocabulary: int
    itemsize: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What one process needs for one base, in bytes. `copies` are further copies of the linear layers' weights."""

    weights: int
    copies: int
    cache: int
    job: int

    @property
    def needed(self) -> int:
        """All of it. A process either serves or trains, so the larger of the two counts."""
        return self.weights + self.copies + max(self.cache, self.job)


@dataclass(frozen=True, slots=True)
class Luxuries:
    """How many further copies of the linear layers' weights (at most two) this process may make for speed.

    Of one that is made in place of the plain weights nothing is gained: these may lie in a file that is shared.
    """

    copies: int = 0

    @property
    def prepacked(self) -> bool:
        """Whether the weights may also be held as the processor's library wants them."""
        return self.copies >= 1

    @property
    def transposed(self) -> bool:
        """Whether, beside that copy, there may be one in the layout of the backward pass."""
        return self.copies >= 2


@dataclass(frozen=True, slots=True)
class Foresight:
    """What is known before a base is loaded: why it cannot be, or None, and what it may take beyond its needs."""

    shortage: str | None = None
    luxuries: Luxuries = Luxuries()


def footprint(model: PreTrainedModel) -> Footprint:
    """Count a model, or its skeleton, in the type that its parameters have."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    linears = [module for module in decoder.modules() if isinstance(module, nn.Linear) and module is not head]
    config: Any = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    features = sum(linear.in_features + linear.out_features for linear in linears)
    itemsize, layers = model.dtype.itemsize, int(config.num_hidden_layers)
    return Footprint(
        parameters=sum(map(_bytes, model.parameters())),
        buffers=sum(map(_bytes, model.buffers())),
        linears=sum(_bytes(linear.weight) for linear in linears),
        head=_bytes(head.weight) if head is not None else 0,
        cache_per_token=2 * layers * heads * head_size * itemsize,
        kept_per_token=kept_bytes_per_token(linears, itemsize),
        hidden_per_token=layers * config.hidden_size * itemsize,
        adapter_numbers=features,
        layers=layers,
        vocabulary=int(config.vocab_size),
        itemsize=itemsize,
    )


def plan(cost: Footprint, *, rank: int, tokens: int = LEAST_TOKENS, copies: int = 0) -> MemoryPlan:
    """The plan for one job and one answer at a time, of so many tokens, layers being computed twice in training.

    Args:
        cost: of the base.
        rank: of its adapters.
        tokens: of a training pass, and of an answer with its prompt.
        copies: further copies of the linear layers' weights.

    """
    numbers = rank * cost.adapter_numbers
    adapter = numbers * (_FLAT_COPIES * 4 + 2 * cost.itemsize)
    activations = tokens * (cost.hidden_per_token + cost.kept_per_token // cost.layers)
    logits = min(tokens, _LEAST_TARGETS) * cost.vocabulary * (_LOGIT_COPIES * 4 + cost.itemsize)
    return MemoryPlan(
        weights=cost.parameters + cost.buffers,
        copies=copies * cost.linears,
        cache=tokens * cost.cache_per_token + numbers * cost.itemsize,
        job=adapter + activations + logits,
    )


def luxuries(cost: Footprint, memory: Memory | None, *, rank: int, others: int = 1) -> Luxuries:
    """What fits beside this process's plan and that of so many others over the same base, which may come later.

    Args:
        cost: of the base.
        memory: before it is loaded; None, as where the system does not tell: no luxuries.
        rank: of its adapters.
        others: processes that will hold a copy too: the generator beside the trainer.

    """
    if memory is None or not cost.linears:
        return Luxuries()
    spare = memory.usable_bytes - (1 + others) * plan(cost, rank=rank).needed
    # The head is packed with the rest; where it is tied, the embeddings stay beside it.
    return Luxuries(max(0, min(2, spare // (cost.linears + cost.head))))


def kept_bytes_per_token(linears: Iterable[HasFeatures], itemsize: int) -> int:
    """About what all layers keep of one token for the backward pass: twice the linear layers' inputs and outputs.

    Norms, rotations, attention and the activation function keep about as much again; on a Llama of 256 hidden features
    it comes to 117 KiB a token in bf16, and 99 were measured.
    """
    return 2 * itemsize * sum(linear.in_features + linear.out_features for linear in linears)


def pass_bytes(memory: Memory | None) -> int:
    """What all training passes may keep for the way back: an eighth of all, at most half of what is free."""
    return _UNKNOWN_PASS_BYTES if memory is None else min(memory.total_bytes // 8, memory.usable_bytes // 2)


def cache_bytes(memory: Memory, device: torch.device) -> int:
    """What keys and values may take once the base is loaded: half of a GPU's rest, a quarter elsewhere up to 2 GiB."""
    if device.type == "cuda":
        return memory.usable_bytes // 2
    return min(_MOST_CACHE_BYTES, memory.usable_bytes // 4)


def shortage(needed: MemoryPlan, memory: Memory, dtype: torch.dtype) -> str | None:
    """Why a base of this plan cannot be held, with what to do, as the rest of a sentence; None if it can."""
    if not _short(needed, memory):
        return None
    name = str(dtype).removeprefix("torch.")
    return (
        f"needs {_shown(needed.needed)} of memory ({_shown(needed.weights + needed.copies)} for its weights in {name}, "
        f"the rest to work with), and {_shown(memory.usable_bytes)} can be had: of the {_shown(memory.total_bytes)} of "
        f"{memory.whose}, {_shown(memory.free_bytes)} are free, and {_shown(memory.reserve_bytes)} are kept for "
        "everything else. Take a smaller base, a machine or a limit with more memory, or end other programs that hold "
        "some (a server's trainer and generator each hold a copy of every base in use)"
    )


def foresee(
    location: str,
    *,
    revision: str | None,
    rank: int,
    dtype: torch.dtype,
    device: torch.device,
    measure: Callable[[torch.device], Memory | None] = available_memory,
) -> Foresight:
    """Plan for a base that is about to be loaded, from its small files.

    What cannot be planned is let through: loading finds the same fault and has better words for it.
    """
    try:
        config = read_config(location, revision=revision)
        # Quantized weights would be counted in the wrong type.
        if getattr(config, "quantization_config", None) is not None:
            return Foresight()
        stored = config.dtype
        cost = footprint(skeleton(config, dtype))
    except _NOT_FORESEEN:
        return Foresight()
    needed = plan(cost, rank=rank)
    asked = [(needed, device)]
    if device.type != "cpu" and stored != dtype:
        # Converted in the machine's memory on their way; others pass from the file, which is no more than cached.
        asked.append((MemoryPlan(weights=needed.weights, copies=0, cache=0, job=0), torch.device("cpu")))
    found = [(each, measure(place)) for each, place in asked]
    if any(_short(each, memory) for each, memory in found):
        # A base that was given up for this one may still be in cycles of references.
        gc.collect()
        found = [(each, measure(place)) for each, place in asked]
    reasons = [shortage(each, memory, dtype) for each, memory in found if memory is not None]
    return Foresight(next(filter(None, reasons), None), luxuries(cost, found[0][1], rank=rank))


def _short(needed: MemoryPlan, memory: Memory | None) -> bool:
    return memory is not None and needed.needed > memory.usable_bytes


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
