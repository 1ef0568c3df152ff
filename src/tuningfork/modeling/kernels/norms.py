"""RMS norms and their way back, with the residual sum before or after them: one kernel each.

One program takes one row, which lies in its registers as a whole; numbers are computed in fp32.

Shape suffixes: T tokens, D features, H heads, K head size. Rows may be strided, their features lie side by side.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The norm of each row, contiguous in `dtype`, and one over the root of each, `(..., 1)` in fp32.

    Args:
        x: `TD` or `THK` in any floating-point type.
        weight: fp32, what is multiplied with.
        epsilon: added to the mean square.
        dtype: of the result.

    """
    y, inverse = _outputs(x, dtype)
    _launch(x, None, None, y, inverse, weight, epsilon)
    return y, inverse


def add_rms_norm(
    x_TD: Tensor, more_TD: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of both, in fp32; its norm, in `dtype`; and one over the root of each row, `T1` in fp32.

    `x_TD` is fp32, `more_TD` has any floating-point type.
    """
    y_TD, inverse = _outputs(x_TD, dtype)
    sum_TD = torch.empty(x_TD.shape, dtype=torch.float32, device=x_TD.device)
    _launch(x_TD, more_TD, sum_TD, y_TD, inverse, weight, epsilon)
    return sum_TD, y_TD, inverse


def rms_norm_backward(
    slope: Tensor,
    x: Tensor,
    inverse: Tensor,
    weight: Tensor,
    rest: Tensor | None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The gradient of x, plus `rest`, contiguous in `dtype`.

    Args:
        slope: the gradient of the norm, shaped like x, in any floating-point type.
        x: what the norm was taken of, `TD` or `THK`.
        inverse: what came with the norm.
        weight: the norm's.
        rest: shaped like x; None: nothing.
        dtype: of the result.

    """
    result = torch.empty(x.shape, dtype=dtype, device=x.device)
    _launch_backward(slope, x, inverse, weight, rest, result, None)
    return result


def rms_norm_backward_rounded(
    slope: Tensor, x: Tensor, inverse: Tensor, weight: Tensor, rest: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Like `rms_norm_backward`, in fp32 and in `dtype` too."""
    result = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    rounded = torch.empty(x.shape, dtype=dtype, device=x.device)
    _launch_backward(slope, x, inverse, weight, rest, result, rounded)
    return result, rounded


def _launch_backward(
    slope: Tensor,
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
        slope,
        x,
        inverse,
        weight,
        rest,
        result,
        rounded,
        heads,
        x.shape[-1],
        *_strides(slope),
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
    """Of tokens and of heads."""
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
    # A pack's numbers may be more than 32 bits can count.
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
    slope_ptr,
    x_ptr,
    inverse_ptr,
    weight_ptr,
    rest_ptr,
    result_ptr,
    rounded_ptr,
    heads,
    columns,
    slope_token,
    slope_head,
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
    slope = tl.load(slope_ptr + token * slope_token + head * slope_head + column, mask=inside, other=0.0)
    x = tl.load(x_ptr + token * x_token + head * x_head + column, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.load(inverse_ptr + row)
    unit = x * inverse
    inner = slope.to(tl.float32) * tl.load(weight_ptr + column, mask=inside, other=0.0)
    shared = tl.sum(inner * unit, axis=0) / columns
    result = (inner - unit * shared) * inverse
    if ADDS:
        rest = tl.load(rest_ptr + token * rest_token + head * rest_head + column, mask=inside, other=0.0)
        result += rest.to(tl.float32)
    tl.store(result_ptr + row * columns + column, result.to(result_ptr.dtype.element_ty), mask=inside)
    if ROUNDS:
        tl.store(rounded_ptr + row * columns + column, result.to(rounded_ptr.dtype.element_ty), mask=inside)
