"""Plans memory before a base is loaded: the memory that the base will need, compared with what the machine has.

The weights are counted exactly, from the base's modules without weights; the memory of a job and of a cache is
estimated from the same shapes. A base that cannot fit is refused with a message; otherwise the system would kill the
process. Two processes that load at the same time may both count the same free memory.
"""

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from tuningfork.domain.errors import BaseUnusable, InvalidArgument, Unavailable
from tuningfork.modeling.device.available_memory import Memory, available_memory
from tuningfork.modeling.files.skeleton import read_config, skeleton

LEAST_TOKENS = 2048
"""The fewest tokens for which a training pass, or an answer with its prompt, must have enough memory."""
_LEAST_TARGETS = 512
_FLAT_COPIES = 5
"""Copies of an adapter's numbers in fp32 during training: weights, gradients, two moments, and an update."""
_LOGIT_COPIES = 3
"""Copies of the target tokens' logits in fp32 during a backward pass."""

_MOST_CACHE_BYTES = 2 * 2**30
_UNKNOWN_PASS_BYTES = 2**30
"""The memory for training passes if the system does not report how much memory it has."""

_PLANNING_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, AttributeError)
"""What transformers raises for files it cannot read, an architecture it does not know, or unusual names in a config."""


class MemoryShort(Unavailable):
    """There is too little free memory at the moment, on a machine that has enough in all."""


class BaseMemoryShort(BaseUnusable):
    """There is too little free memory for a base at the moment, on a machine that has enough in all."""


class HasFeatures(Protocol):
    """A linear layer, with adapters or without."""

    in_features: int
    out_features: int


class HasWeight(HasFeatures, Protocol):
    """A linear layer that is in memory."""

    weight: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The memory that an architecture needs in one floating-point type, in bytes unless another unit is named.

    Attributes:
        parameters: all weights, tied weights counted once.
        buffers: tensors that are not weights, such as rotary tables.
        linears: the weights of the linear layers that have adapters; a part of `parameters`.
        head: the weights of the output head, which may be tied to the embeddings; a part of `parameters`.
        cache_per_token: keys and values of one token in all layers.
        kept_per_token: activations of one token that all layers keep from the forward to the backward pass.
        hidden_per_token: the part of `kept_per_token` that remains with activation checkpointing: each layer's input.
        adapter_numbers: the size of an adapter of rank 1 (numbers, not bytes).
        layers: how many layers the decoder has.
        vocabulary: how many logits the head has.
        itemsize: bytes of one number.

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
    """The memory that one process needs for one base, in bytes: for weights, copies of weights, a cache or a job."""

    weights: int
    copies: int
    cache: int
    job: int

    @property
    def needed(self) -> int:
        """The bytes that the process needs: weights, copies, and the larger of `cache` and `job`.

        A process either generates or trains.
        """
        return self.weights + self.copies + max(self.cache, self.job)


@dataclass(frozen=True, slots=True)
class WeightCopies:
    """How many further copies of the linear layers' weights (at most two) this process may make for speed.

    The plain weights stay in memory too, since they may be memory-mapped and shared with another process.
    """

    copies: int = 0

    @property
    def prepacked(self) -> bool:
        """Whether a copy may be made in the order in which oneDNN reads weights."""
        return self.copies >= 1

    @property
    def transposed(self) -> bool:
        """Whether a second copy may be made for the backward pass, with the weights transposed."""
        return self.copies >= 2


@dataclass(frozen=True, slots=True)
class LoadingPlan:
    """The result of planning: why the base does not fit (None: it fits), and how many copies of its weights to make.

    `may_pass`: the base would fit if nothing else were in memory.
    """

    shortage: str | None = None
    may_pass: bool = False
    weight_copies: WeightCopies = WeightCopies()


def footprint(model: PreTrainedModel, dtype: torch.dtype | None = None) -> Footprint:
    """Measure a model, with weights or on the meta device; `dtype`: what it computes in; None: its parameters' type."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    linears = [module for module in decoder.modules() if isinstance(module, nn.Linear) and module is not head]
    config: Any = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    features = sum(linear.in_features + linear.out_features for linear in linears)
    itemsize, layers = (dtype or model.dtype).itemsize, int(config.num_hidden_layers)
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
    """The plan for one job and one answer at a time, with activation checkpointing in training.

    Args:
        cost: the base's footprint.
        rank: the rank of its adapters.
        tokens: the tokens of a training pass, and of an answer with its prompt.
        copies: the number of further copies of the linear layers' weights.

    """
    numbers = rank * cost.adapter_numbers
    adapter = trained_adapter_bytes(cost.adapter_numbers, rank=rank, itemsize=cost.itemsize)
    activations = tokens * (cost.hidden_per_token + cost.kept_per_token // cost.layers)
    logits = min(tokens, _LEAST_TARGETS) * cost.vocabulary * (_LOGIT_COPIES * 4 + cost.itemsize)
    return MemoryPlan(
        weights=cost.parameters + cost.buffers,
        copies=copies * cost.linears,
        cache=tokens * cost.cache_per_token + numbers * cost.itemsize,
        job=adapter + activations + logits,
    )


def trained_adapter_bytes(features: int, *, rank: int, itemsize: int) -> int:
    """The bytes that an adapter takes while it is trained.

    Args:
        features: the inputs and outputs of all layers that it is beside; an adapter of rank 1 has so many numbers.
        rank: its rank.
        itemsize: the bytes of a number of the base.

    """
    return features * rank * (_FLAT_COPIES * 4 + 2 * itemsize)


def check_adapter_fits(
    layers: Iterable[HasWeight], memory: Memory | None, *, rank: int, itemsize: int, converted: bool = False
) -> None:
    """Check that there is enough memory to train an adapter beside a base that is loaded.

    Args:
        layers: the layers that it is beside.
        memory: what there is now; None: the system does not report it, and nothing is refused.
        rank: its rank.
        itemsize: the bytes of a number of the base.
        converted: whether the layers' weights had another type in their files.

    Raises:
        InvalidArgument: it would not fit beside the layers' weights, the trainer's and the generator's, if nothing else
            were in memory.
        MemoryShort: it would fit then, and does not at the moment.

    """
    beside = [*layers]
    features = sum(layer.in_features + layer.out_features for layer in beside)
    needed = trained_adapter_bytes(features, rank=rank, itemsize=itemsize)
    if memory is None or needed <= memory.usable_bytes:
        return
    takes = f"an adapter of rank {rank} takes {_shown(needed)} of memory while it is trained, and "
    most = max(0, memory.most_bytes - sum(_held_bytes(layer.weight, converted=converted) for layer in beside))
    if needed > most:
        raise InvalidArgument(
            f"{takes}{memory.whose} has at most {_shown(most)} for it beside the base; tune with a lower rank, or on a "
            "machine with more memory"
        )
    raise MemoryShort(f"{takes}{_shown(memory.usable_bytes)} can be had at the moment")


def weight_copies(cost: Footprint, memory: Memory | None, *, rank: int, others: int = 1) -> WeightCopies:
    """How many copies of the weights fit into memory, after the plans of this and of other processes for the same base.

    Args:
        cost: the base's footprint.
        memory: the memory before the base is loaded; None: the system does not report it, and no copies are made.
        rank: the rank of its adapters.
        others: how many other processes will hold copies, such as the generator if this is the trainer. They may start
            later.

    """
    if memory is None or not cost.linears:
        return WeightCopies()
    spare = memory.usable_bytes - (1 + others) * plan(cost, rank=rank).needed
    # The head is copied too. The embeddings are not, even if the head is tied to them.
    return WeightCopies(max(0, min(2, spare // (cost.linears + cost.head))))


def kept_bytes_per_token(linears: Iterable[HasFeatures], itemsize: int) -> int:
    """Estimate the bytes of activations that all layers keep for a token: twice the linear layers' inputs and outputs.

    The factor is two since norms, rotations, attention and the activation function keep about as much as the linear
    layers. For a Llama of 256 hidden features the estimate is 117 KiB for each token in bf16; 99 KiB were measured.
    """
    return 2 * itemsize * sum(linear.in_features + linear.out_features for linear in linears)


def pass_bytes(memory: Memory | None) -> int:
    """The bytes for activations of training passes: an eighth of all memory, at most half of the free memory."""
    return _UNKNOWN_PASS_BYTES if memory is None else min(memory.total_bytes // 8, memory.usable_bytes // 2)


def cache_bytes(memory: Memory, device: torch.device) -> int:
    """The memory for keys and values, in bytes: half of a GPU's free memory, or a quarter of a CPU's, at most 2 GiB."""
    if device.type == "cuda":
        return memory.usable_bytes // 2
    return min(_MOST_CACHE_BYTES, memory.usable_bytes // 4)


def shortage(needed: MemoryPlan, memory: Memory, dtype: torch.dtype) -> str | None:
    """Why the base does not fit and what to do, as the rest of a sentence; None: it fits."""
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


def plan_loading(
    location: str,
    *,
    revision: str | None,
    rank: int,
    dtype: torch.dtype,
    device: torch.device,
    stored: torch.dtype | None = None,
    measure: Callable[[torch.device], Memory | None] = available_memory,
) -> LoadingPlan:
    """Plan for a base before it is loaded, from its configuration and the headers of its weight files.

    `dtype` is what is computed in, `stored` the type that the weights will have; None: `dtype` too. A base whose files
    cannot be read is not refused here: loading finds the same fault and reports it better.
    """
    stored = stored or dtype
    try:
        config = read_config(location, revision=revision)
        # Quantized weights have another type than `dtype`, for which the plan is made.
        if getattr(config, "quantization_config", None) is not None:
            return LoadingPlan()
        on_disk = config.dtype
        cost = _cost(config, stored, dtype)
    except _PLANNING_FAULTS:
        return LoadingPlan()
    needed = plan(cost, rank=rank)
    asked = [(needed, device)]
    if device.type != "cpu" and on_disk != stored:
        # While weights are converted, they take the machine's memory too. Weights that need no conversion do not.
        asked.append((MemoryPlan(weights=needed.weights, copies=0, cache=0, job=0), torch.device("cpu")))
    found = [(each, measure(place)) for each, place in asked]
    if any(_short(each, memory) for each, memory in found):
        # Reference cycles may still hold the memory of a base that this one replaces.
        gc.collect()
        found = [(each, measure(place)) for each, place in asked]
    reasons = [shortage(each, memory, stored) for each, memory in found if memory is not None]
    return LoadingPlan(
        shortage=next(filter(None, reasons), None),
        may_pass=all(memory is None or each.needed <= memory.most_bytes for each, memory in found),
        weight_copies=weight_copies(cost, found[0][1], rank=rank),
    )


def _cost(config: Any, stored: torch.dtype, dtype: torch.dtype) -> Footprint:
    if stored != torch.int8:
        return footprint(skeleton(config, stored), dtype)
    # No module can be made in int8. The scales of rows are some hundredths of the bytes.
    wide = footprint(skeleton(config, torch.bfloat16), dtype)
    return replace(wide, parameters=wide.parameters // 2, linears=wide.linears // 2, head=wide.head // 2)


def _short(needed: MemoryPlan, memory: Memory | None) -> bool:
    return memory is not None and needed.needed > memory.usable_bytes


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _held_bytes(weight: torch.Tensor, *, converted: bool) -> int:
    """The bytes of a layer's weight that trainer and generator hold together, at least.

    Each has a copy of its own on a GPU, of weights that were converted, and of those that are fused with others. Other
    weights may be mapped from the file, whose pages the two share: those of two bytes that are widened when they are
    used always are.
    """
    is_part = weight.untyped_storage().nbytes() > _bytes(weight)
    return _bytes(weight) * (2 if converted or is_part or weight.device.type != "cpu" else 1)


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
