"""Lets a model compute in one type while its weights stay in a narrower one: in two bytes, or in int8 with scales.

Two processes that map the same file then share its pages, and hold no copies. Each weight is widened when it is used:
by the products of our own decoder, and by the modules of this file where transformers' code runs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from tuningfork.domain.errors import TuningforkError
from tuningfork.modeling.adapters.slot_layers import widened_linear
from tuningfork.modeling.files.base_files import base_directory, weight_files
from tuningfork.modeling.files.skeleton import read_config
from tuningfork.modeling.files.stored_weights import stored_in

_TWO_BYTES = {"BF16": torch.bfloat16, "F16": torch.float16}
"""The types of two bytes, by safetensors' names."""
_TYPES = {"F32": torch.float32, "I8": torch.int8, **_TWO_BYTES}
"""The types that weights are kept in, by safetensors' names."""

_FAULTS = (TuningforkError, OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, AttributeError)
"""What is raised for files that cannot be read. Loading finds the same fault, and reports it better."""


def two_bytes_of(location: str, revision: str | None) -> torch.dtype | None:
    """The type of two bytes that all weights of a base are stored in; None: there is no such type.

    None too if the weights are quantized, or cannot be read. Weights on the Hub are downloaded.
    """
    try:
        config = read_config(location, revision=revision)
        if getattr(config, "quantization_config", None) is not None or config.dtype not in _TWO_BYTES.values():
            return None
        kinds = _kinds_of(location, revision)
    except _FAULTS:
        return None
    return _TWO_BYTES.get(kinds.pop()) if len(kinds) == 1 else None


def are_converted(location: str, revision: str | None, dtype: torch.dtype) -> bool:
    """Whether no weight of a base is stored in this type, so that each process that loads it has copies of its own.

    False too if the weights cannot be read.
    """
    try:
        kinds = _kinds_of(location, revision)
    except _FAULTS:
        return False
    return dtype not in {_TYPES.get(kind) for kind in kinds}


def _kinds_of(location: str, revision: str | None) -> set[str]:
    files = weight_files(base_directory(location, revision=revision))
    return {stored.kind for file in files for stored in stored_in(file)}


def can_be_widened(model: PreTrainedModel) -> bool:
    """Whether `widen_` knows the model's embedding, with weights or on the meta device."""
    embedding: Any = model.get_input_embeddings()
    return type(embedding) is nn.Embedding or hasattr(embedding, "scalar_embed_scale")


def widen_(model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> None:
    """Make a model with narrower weights compute in this type, in place.

    Matrices keep their type and their place in memory. Norms and biases get the type. The linear layers must be
    `SlotLinear`, which widens by itself, except the output head. The scales of weights in int8 are those that
    `int8_weights.take_int8_` has put beside them.
    """
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    model.set_input_embeddings(_WidenedEmbedding(model.get_input_embeddings(), dtype))
    model.set_output_embeddings(_WidenedLinear(head))  # type: ignore[no-untyped-call]
    module: nn.Module
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() == 1:
                setattr(module, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))


class _WidenedEmbedding(nn.Module):
    """An embedding that looks rows up in their own type and widens them. Gemma's embeddings are scaled."""

    def __init__(self, base: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = base.weight
        self._scale_V: Tensor | None = getattr(base, "scale_O", None)
        self._scale = getattr(base, "scalar_embed_scale", None)
        self._dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        rows = functional.embedding(ids, self.weight).float()
        if self._scale_V is not None:
            rows = rows * self._scale_V[ids][..., None]
        return (rows if self._scale is None else rows * self._scale).to(self._dtype)


class _WidenedLinear(nn.Module):
    """An output head that computes in the type of its input."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.weight, self.bias = base.weight, base.bias
        self.scale_O: Tensor | None = getattr(base, "scale_O", None)

    def forward(self, x: Tensor) -> Tensor:
        return widened_linear(x, self.weight, self.bias, self.scale_O)
