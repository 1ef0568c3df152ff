"""RMS norms and their backward pass, fused with the residual addition: one kernel each.

One program takes one row, which it holds in registers; it computes in fp32.

Shape suffixes: T tokens, D features, H heads, K head size. Rows may be strided; the features of a row are contiguous.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The norm of each row, contiguous in `dtype`, and 1 / sqrt(mean square + epsilon), `(..., 1)` in fp32.

    Args:
        x: `TD` or `THK` in any floating-point type.
        weight: the norm's weight in fp32.
        epsilon: is added to the mean square.
        dtype: of the result.

    """
    y, inverse = _outputs(x, dtype)
    _launch(x, None, None, y, inverse, weight, epsilon)
    return y, inverse


def add_rms_norm(
    x_TD: Tensor, more_TD: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of `x_TD` and `more_TD`, and its RMS norm.

    Returns the sum in fp32, its norm in `dtype`, and 1 / sqrt(mean square + epsilon) of each row, `T1` in fp32. `x_TD`
    is fp32, `more_TD` has any floating-point type.
    """
    y_TD, inverse = _outputs(x_TD, dtype)
    sum_TD = torch.empty(x_TD.shape, dtype=torch.float32, device=x_TD.device)
    _launch(x_TD, more_TD, sum_TD, y_TD, inverse, weight, epsilon)
    return sum_TD, y_TD, inverse


def rms_norm_backward(
    grad: Tensor,
    x: Tensor,
    inverse: Tensor,
    weight: Tensor,
    rest: Tensor | None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The gradient of x, plus `rest`, contiguous in `dtype`.

    Args:
        grad: the gradient of the norm, shaped like x, in any floating-point type.
        x: the norm's input, `TD` or `THK`.
        inverse: the second result of the norm.
        weight: the norm's weight.
        rest: a gradient to add, shaped like x; None: none.
        dtype: of the result.

    """
    result = torch.empty(x.shape, dtype=dtype, device=x.device)
    _launch_backward(grad, x, inverse, weight, rest, result, None)
    return result


def rms_norm_backward_rounded(
    grad: Tensor, x: Tensor, inverse: Tensor, weight: Tensor, rest: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Like `rms_norm_backward`, but returns the gradient twice: in fp32 and in `dtype`."""
    result = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    rounded = torch.empty(x.shape, dtype=dtype, device=x.device)
    _launch_backward(grad, x, inverse, weight, rest, result, rounded)
    return result, rounded


def _launch_backward(
    grad: Tensor,
    x: Tensor,
    inverse: Tensor,
    weight: Tensor,
    rest: Tensor | None,
    result: Tensor,
    rounded: Tensor | None,
) -> None:
    heads = x.shape[1] if x.dim() == 3 else 1
    block = triton.next_power_of_2(x.shape[-1])
    _backward[(x.shape[0] * heads,)](
        grad,
        x,
        inverse,
        weight,
        rest,
        result,
        rounded,
        heads,
        x.shape[-1],
        *_strides(grad),
        *_strides(x),
        *((0, 0) if rest is None else _strides(rest)),
        ADDS=rest is not None,
        ROUNDS=rounded is not None,
        BLOCK=block,
        num_warps=_warps(block),
    )


def _launch(
    x: Tensor, more: Tensor | None, total: Tensor | None, y: Tensor, inverse: Tensor, weight: Tensor, epsilon: float
) -> None:
    heads = x.shape[1] if x.dim() == 3 else 1
    block = triton.next_power_of_2(x.shape[-1])
    _forward[(x.shape[0] * heads,)](
        x,
        more,
        total,
        y,
        inverse,
        weight,
        epsilon,
        heads,
        x.shape[-1],
        *_strides(x),
        0 if more is None else _strides(more)[0],
        ADDS=more is not None,
        BLOCK=block,
        num_warps=_warps(block),
    )


def _outputs(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    inverse = torch.empty((*x.shape[:-1], 1), dtype=torch.float32, device=x.device)
    return torch.empty(x.shape, dtype=dtype, device=x.device), inverse


def _strides(x: Tensor) -> tuple[int, int]:
    """The strides of tokens and of heads."""
    if x.stride(-1) != 1 and x.shape[-1] != 1:
        raise ValueError(f"features must lie side by side, not {x.stride(-1)} apart")
    return x.stride(0), x.stride(1) if x.dim() == 3 else 0


def _warps(block: int) -> int:
    return max(1, min(16, block // 256))


@triton.jit
def _forward(
    x_ptr,
    more_ptr,
    sum_ptr,
    y_ptr,
    inverse_ptr,
    weight_ptr,
    epsilon,
    heads,
    columns,
    x_token,
    x_head,
    more_token,
    ADDS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # A pack may hold more numbers than 32 bits can count.
    row = tl.program_id(0).to(tl.int64)
    token, head = row // heads, row % heads
    column = tl.arange(0, BLOCK)
    inside = column < columns
    x = tl.load(x_ptr + token * x_token + head * x_head + column, mask=inside, other=0.0).to(tl.float32)
    if ADDS:
        x += tl.load(more_ptr + token * more_token + column, mask=inside, other=0.0).to(tl.float32)
        tl.store(sum_ptr + row * columns + column, x, mask=inside)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0)
    inverse = tl.rsqrt(tl.sum(x * x, axis=0) / columns + epsilon)
    tl.store(inverse_ptr + row, inverse)
    y = x * inverse * weight
    tl.store(y_ptr + row * columns + column, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    grad_ptr,
    x_ptr,
    inverse_ptr,
    weight_ptr,
    rest_ptr,
    result_ptr,
    rounded_ptr,
    heads,
    columns,
    grad_token,
    grad_head,
    x_token,
    x_head,
    rest_token,
    rest_head,
    ADDS: tl.constexpr,
    ROUNDS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    token, head = row // heads, row % heads
    column = tl.arange(0, BLOCK)
    inside = column < columns
    grad = tl.load(grad_ptr + token * grad_token + head * grad_head + column, mask=inside, other=0.0)
    x = tl.load(x_ptr + token * x_token + head * x_head + column, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.load(inverse_ptr + row)
    unit = x * inverse
    inner = grad.to(tl.float32) * tl.load(weight_ptr + column, mask=inside, other=0.0)
    shared = tl.sum(inner * unit, axis=0) / columns
    result = (inner - unit * shared) * inverse
    if ADDS:
        rest = tl.load(rest_ptr + token * rest_token + head * rest_head + column, mask=inside, other=0.0)
        result += rest.to(tl.float32)
    tl.store(result_ptr + row * columns + column, result.to(result_ptr.dtype.element_ty), mask=inside)
    if ROUNDS:
        tl.store(rounded_ptr + row * columns + column, result.to(rounded_ptr.dtype.element_ty), mask=inside)
