"""Weights in int8: a base in half of the memory of two-byte weights, for serving it and for tuning adapters over it.

Each row of a matrix, which is what one output is computed from, has a scale: its largest magnitude divided by 127. A
weight is stored as the nearest multiple of its row's scale. A product multiplies rows of x with the multiples, and its
sums with the scales, so sums have the same order as those of other weights. Activations, norms, biases and adapters
keep their type.

Shape suffixes: T tokens, D inputs, O outputs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.adapters.slot_layers import blocks_of, widened_linear
from tuningfork.modeling.files.int8_file import Matrix, int8_file

_LARGEST = 127


class Int8Product:
    """`y = W x` for rows of x, and the gradient of x, by torch: some of the weights are widened at a time.

    Where the package has its compiled parts and computes in fp32, `CompiledProduct` takes its place.

    Args:
        parts_OD: the parts of W in int8, one below the other.
        scale_O: what the weights of each output are multiplied with, in fp32.
        dtype: the type of x and y.

    """

    def __init__(self, parts_OD: Sequence[Tensor], scale_O: Tensor | None, *, dtype: torch.dtype) -> None:
        self._parts = tuple(parts_OD)
        self._scale_O = scale_O
        self.dtype = dtype

    def __call__(self, x_TD: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """The output `TO`, plus a bias if there is one."""
        y_TO = torch.cat([widened_linear(x_TD, part, None) for part in self._parts], dim=-1)
        if self._scale_O is not None:
            y_TO = (y_TO * self._scale_O).to(self.dtype)
        return y_TO if bias_O is None else y_TO + bias_O

    def backward(self, grad_TO: Tensor) -> Tensor:
        """The gradient of x, `TD`, given that of y."""
        if self._scale_O is not None:
            grad_TO = (grad_TO * self._scale_O).to(self.dtype)
        grad_TD = grad_TO.new_zeros(len(grad_TO), self._parts[0].shape[1], dtype=torch.float32)
        begin = 0
        for block in (block for part in self._parts for block in blocks_of(part)):
            grad_TD += grad_TO[:, begin : begin + len(block)] @ block.to(self.dtype)
            begin += len(block)
        return grad_TD.to(self.dtype)


def take_int8_(model: PreTrainedModel, location: str, revision: str | None) -> None:
    """Give a model its matrices in int8, in place, mapped from a file that all processes share.

    The file is made from the model's own matrices if it is not there yet. Beside each module's weight stands its scale,
    as `scale_O`. The model cannot compute before `widening.widen_` has been called.

    Raises:
        BaseUnusable: a weight is not finite, or there is no space for the file.
        OSError, NoHomeDirectory: the file cannot be written or read.

    """
    owners = list(_owners(model))
    file = int8_file([_matrix(name, module) for name, module in owners], location, revision)
    taken: dict[int, tuple[nn.Parameter, Tensor]] = {}
    with safe_open(file, "pt") as read:
        for name, module in owners:
            weight_OD, scale_O = read.get_tensor(f"{name}.weight"), read.get_tensor(f"{name}.scale")
            taken[id(module.weight)] = nn.Parameter(weight_OD, requires_grad=False), scale_O
    # Tied modules get the same ones.
    for module in list(model.modules()):
        own = taken.get(id(getattr(module, "weight", None)))
        if own is not None:
            module.weight, module.scale_O = own


def rounded_to_int8(weight_OD: Tensor) -> tuple[Tensor, Tensor]:
    """Multiples of the rows' scales in int8, and the scales `O` in fp32.

    Raises:
        BaseUnusable: a weight is not finite; the message is a part of a sentence.

    """
    wide_OD = weight_OD.float()
    largest_O = wide_OD.abs().amax(dim=1)
    if not bool(largest_O.isfinite().all()):
        raise BaseUnusable("has weights that are not finite, and so cannot be rounded to int8")
    # A row of zeros has any scale.
    scale_O = torch.where(largest_O > 0, largest_O / _LARGEST, 1.0)
    return (wide_OD / scale_O[:, None]).round_().clamp_(-_LARGEST, _LARGEST).to(torch.int8), scale_O


def _owners(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """Each matrix's module by its name in the model; of tied modules the first one."""
    seen = set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.dim() == 2 and id(weight) not in seen:
            seen.add(id(weight))
            yield name, module


def _matrix(name: str, module: Any) -> Matrix:
    weight_OD: Tensor = module.weight.detach()

    def rounded() -> Iterator[tuple[bytes, bytes]]:
        for block in blocks_of(weight_OD):
            numbers, scales = rounded_to_int8(block)
            yield numbers.numpy().tobytes(), scales.numpy().tobytes()

    return Matrix(name, tuple(weight_OD.shape), rounded)
