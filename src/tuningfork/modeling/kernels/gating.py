"""The MLP's gate, act(gate) * up, and its backward pass, which computes act(gate) again: one kernel each.

Shape suffixes: T tokens, F features of the MLP; gate and up lie side by side.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tuningfork.modeling.kernels.base import Activation

_BLOCK = 1024


def gated(kind: Activation, both_TF: Tensor) -> Tensor:
    """act(gate) * up, contiguous, in the type of `both_TF`."""
    features = both_TF.shape[1] // 2
    inner_TF = torch.empty((len(both_TF), features), dtype=both_TF.dtype, device=both_TF.device)
    _forward[_grid(both_TF)](
        both_TF, inner_TF, features, _stride(both_TF), SILU=kind == "silu", BLOCK=_BLOCK, num_warps=4
    )
    return inner_TF


def gated_backward(kind: Activation, grad_TF: Tensor, both_TF: Tensor) -> Tensor:
    """The gradient of gate and up, side by side and contiguous, given the output's gradient."""
    grads_TF = torch.empty(both_TF.shape, dtype=both_TF.dtype, device=both_TF.device)
    _backward[_grid(both_TF)](
        grad_TF,
        both_TF,
        grads_TF,
        both_TF.shape[1] // 2,
        _stride(grad_TF),
        _stride(both_TF),
        SILU=kind == "silu",
        BLOCK=_BLOCK,
        num_warps=4,
    )
    return grads_TF


def _grid(both_TF: Tensor) -> tuple[int, int]:
    return len(both_TF), triton.cdiv(both_TF.shape[1] // 2, _BLOCK)


def _stride(rows_TF: Tensor) -> int:
    if rows_TF.stride(1) != 1 and rows_TF.shape[1] != 1:
        raise ValueError(f"features must lie side by side, not {rows_TF.stride(1)} apart")
    return rows_TF.stride(0)


@triton.jit
def _squashed(gate):
    """The tanh in the approximation of GELU, computed by `tl.sigmoid`, which every version of Triton has."""
    # sqrt(2 / pi), and the coefficient of the cubic term.
    return 2.0 * tl.sigmoid(2.0 * 0.7978845608028654 * (gate + 0.044715 * gate * gate * gate)) - 1.0


@triton.jit
def _forward(both_ptr, inner_ptr, features, both_stride, SILU: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < features
    own = both_ptr + row * both_stride + column
    gate = tl.load(own, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(own + features, mask=inside, other=0.0).to(tl.float32)
    acted = gate * tl.sigmoid(gate) if SILU else 0.5 * gate * (1.0 + _squashed(gate))
    inner = (acted * up).to(inner_ptr.dtype.element_ty)
    tl.store(inner_ptr + row * features + column, inner, mask=inside)


@triton.jit
def _backward(
    grad_ptr,
    both_ptr,
    grads_ptr,
    features,
    grad_stride,
    both_stride,
    SILU: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < features
    own = both_ptr + row * both_stride + column
    gate = tl.load(own, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(own + features, mask=inside, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + row * grad_stride + column, mask=inside, other=0.0).to(tl.float32)
    if SILU:
        opened = tl.sigmoid(gate)
        acted = gate * opened
        steepness = opened * (1.0 + gate * (1.0 - opened))
    else:
        squashed = _squashed(gate)
        acted = 0.5 * gate * (1.0 + squashed)
        inner = 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * gate * gate)
        steepness = 0.5 * (1.0 + squashed) + 0.5 * gate * (1.0 - squashed * squashed) * inner
    into = grads_ptr + row * 2 * features + column
    tl.store(into, (grad * up * steepness).to(grads_ptr.dtype.element_ty), mask=inside)
    tl.store(into + features, (grad * acted).to(grads_ptr.dtype.element_ty), mask=inside)
