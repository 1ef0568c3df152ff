"""Normalizes each head of queries and keys, rotates it, or both, in place and in one kernel.

A program processes some heads of one token. Each head has three parts: the two halves of the rotated features, and the
tail that is not rotated. The program reads all of them before it writes, and computes in fp32.

Shape suffixes: T tokens, J heads that are normalized or rotated, L all heads, K features of a head.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from tuningfork.modeling.kernels.base import HeadNorms

_NUMBERS = 4096
"""The most numbers that a program loads at a time: the first half, second half or rest of several heads."""


def rotate_(all_TLK: Tensor, heads: int, cos_T1K: Tensor, sin_T1K: Tensor, direction: int) -> None:
    """Rotate the first features of the first `heads` heads, in place.

    Args:
        all_TLK: all heads, in any floating-point type; the features of a head are contiguous.
        heads: how many heads are rotated.
        cos_T1K: the cosines in fp32, for the features that are rotated.
        sin_T1K: the sines likewise; the first half is negated.
        direction: 1 for the forward pass, -1 for the backward pass.

    """
    launch = _LaunchParameters.of(all_TLK, heads, cos_T1K)
    _forward[launch.grid](
        all_TLK,
        *launch.tables(cos_T1K, sin_T1K),
        None,
        None,
        None,
        None,
        *launch.numbers,
        0,
        0.0,
        0.0,
        float(direction),
        NORMED=False,
        ROTATED=True,
        **launch.constants,
    )


def norm_rotate_(
    all_TLK: Tensor, heads: int, norms: HeadNorms, cos_T1K: Tensor | None, sin_T1K: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Normalize the first `heads` heads and rotate them, in place.

    Returns the heads' values before, `TJK`, and 1 / sqrt(mean square + epsilon) of each head, `TJ1` in fp32. If
    `cos_T1K` and `sin_T1K` are None, the heads are only normalized.
    """
    launch = _LaunchParameters.of(all_TLK, heads, cos_T1K)
    x_TJK = torch.empty((len(all_TLK), heads, all_TLK.shape[2]), dtype=all_TLK.dtype, device=all_TLK.device)
    inverse_TJ1 = torch.empty((len(all_TLK), heads, 1), dtype=torch.float32, device=all_TLK.device)
    _forward[launch.grid](
        all_TLK,
        *launch.tables(cos_T1K, sin_T1K),
        norms.query.weight,
        norms.key.weight,
        x_TJK,
        inverse_TJ1,
        *launch.numbers,
        norms.queries,
        norms.query.epsilon,
        norms.key.epsilon,
        1.0,
        NORMED=True,
        ROTATED=cos_T1K is not None,
        **launch.constants,
    )
    return x_TJK, inverse_TJ1


def norm_rotate_backward_(
    grad_TLK: Tensor,
    x_TJK: Tensor,
    inverse_TJ1: Tensor,
    norms: HeadNorms,
    cos_T1K: Tensor | None,
    sin_T1K: Tensor | None,
) -> None:
    """The backward pass of `norm_rotate_`, in place on the gradient.

    `x_TJK` and `inverse_TJ1` are what `norm_rotate_` returned.
    """
    launch = _LaunchParameters.of(grad_TLK, x_TJK.shape[1], cos_T1K)
    _backward[launch.grid](
        grad_TLK,
        *launch.tables(cos_T1K, sin_T1K),
        norms.query.weight,
        norms.key.weight,
        x_TJK,
        inverse_TJ1,
        *launch.numbers,
        norms.queries,
        ROTATED=cos_T1K is not None,
        **launch.constants,
    )


@dataclass(frozen=True, slots=True)
class _LaunchParameters:
    """The launch parameters: the grid of programs, and the arguments that all kernels here take."""

    grid: tuple[int, int]
    numbers: tuple[int, ...]
    constants: dict[str, int | bool]

    @classmethod
    def of(cls, all_TLK: Tensor, heads: int, cos_T1K: Tensor | None) -> "_LaunchParameters":
        size = all_TLK.shape[2]
        rotated = 0 if cos_T1K is None else cos_T1K.shape[-1]
        if all_TLK.stride(2) != 1 and size != 1:
            raise ValueError(f"a head's features must lie side by side, not {all_TLK.stride(2)} apart")
        half, tail = triton.next_power_of_2(max(rotated // 2, 1)), triton.next_power_of_2(max(size - rotated, 1))
        block = min(triton.next_power_of_2(heads), max(1, _NUMBERS // max(half, tail)))
        numbers = (
            heads,
            size,
            rotated // 2,
            all_TLK.stride(0),
            all_TLK.stride(1),
            0 if cos_T1K is None else cos_T1K.stride(0),
        )
        constants = {
            "TAILED": size > rotated,
            "HEADS": block,
            "HALF": half,
            "TAIL": tail,
            "num_warps": max(1, min(8, block * max(half, tail) // 128)),
        }
        return cls((len(all_TLK), triton.cdiv(heads, block)), numbers, constants)

    @staticmethod
    def tables(cos_T1K: Tensor | None, sin_T1K: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if cos_T1K is None or sin_T1K is None:
            return None, None
        # Both tables have the same token stride, so that a launch takes one argument less.
        same = cos_T1K.stride() == sin_T1K.stride() and cos_T1K.stride(-1) == 1
        if not same:
            raise ValueError("sines must lie like the cosines, features side by side")
        return cos_T1K, sin_T1K


@triton.jit
def _weights(query_ptr, key_ptr, column, inside, is_query):
    """The norm weights of each head. `is_query` marks the query heads; other heads are key heads."""
    query = tl.load(query_ptr + column[None, :], mask=inside & is_query[:, None], other=0.0)
    # For each head, one of the two loads returns zeros.
    return query + tl.load(key_ptr + column[None, :], mask=inside & (is_query == 0)[:, None], other=0.0)


@triton.jit
def _rotate_halves(first, second, cos_ptr, sin_ptr, column, half, direction):
    """Rotate the features of both halves against each other by one token's angles; returns both halves."""
    inside = column < half
    first_cos = tl.load(cos_ptr + column, mask=inside, other=0.0)[None, :]
    first_sin = tl.load(sin_ptr + column, mask=inside, other=0.0)[None, :]
    second_cos = tl.load(cos_ptr + half + column, mask=inside, other=0.0)[None, :]
    second_sin = tl.load(sin_ptr + half + column, mask=inside, other=0.0)[None, :]
    return (
        first * first_cos + second * first_sin * direction,
        second * second_cos + first * second_sin * direction,
    )


@triton.jit
def _forward(
    all_ptr,
    cos_ptr,
    sin_ptr,
    query_ptr,
    key_ptr,
    x_ptr,
    inverse_ptr,
    heads,
    size,
    half,
    token_stride,
    head_stride,
    table_stride,
    queries,
    query_epsilon,
    key_epsilon,
    direction,
    NORMED: tl.constexpr,
    ROTATED: tl.constexpr,
    TAILED: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    TAIL: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    column = tl.arange(0, HALF)
    tail_column = 2 * half + tl.arange(0, TAIL)
    in_half = (head < heads)[:, None] & (column < half)[None, :]
    in_tail = (head < heads)[:, None] & (tail_column < size)[None, :]
    own = all_ptr + token * token_stride + head[:, None] * head_stride
    first = tl.load(own + column[None, :], mask=in_half, other=0.0).to(tl.float32)
    second = tl.load(own + half + column[None, :], mask=in_half, other=0.0).to(tl.float32)
    if NORMED:
        is_query = head < queries
        kept = x_ptr + (token * heads + head[:, None]) * size
        tl.store(kept + column[None, :], first.to(x_ptr.dtype.element_ty), mask=in_half)
        tl.store(kept + half + column[None, :], second.to(x_ptr.dtype.element_ty), mask=in_half)
        squares = tl.sum(first * first, axis=1) + tl.sum(second * second, axis=1)
        if TAILED:
            tail = tl.load(own + tail_column[None, :], mask=in_tail, other=0.0).to(tl.float32)
            tl.store(kept + tail_column[None, :], tail.to(x_ptr.dtype.element_ty), mask=in_tail)
            squares += tl.sum(tail * tail, axis=1)
        inverse = tl.rsqrt(squares / size + tl.where(is_query, query_epsilon, key_epsilon))
        tl.store(inverse_ptr + token * heads + head, inverse, mask=head < heads)
        first *= inverse[:, None] * _weights(query_ptr, key_ptr, column, in_half, is_query)
        second *= inverse[:, None] * _weights(query_ptr, key_ptr, half + column, in_half, is_query)
        if TAILED:
            tail *= inverse[:, None] * _weights(query_ptr, key_ptr, tail_column, in_tail, is_query)
            tl.store(own + tail_column[None, :], tail.to(all_ptr.dtype.element_ty), mask=in_tail)
    if ROTATED:
        table = token * table_stride
        first, second = _rotate_halves(first, second, cos_ptr + table, sin_ptr + table, column, half, direction)
    tl.store(own + column[None, :], first.to(all_ptr.dtype.element_ty), mask=in_half)
    tl.store(own + half + column[None, :], second.to(all_ptr.dtype.element_ty), mask=in_half)


@triton.jit
def _backward(
    grad_ptr,
    cos_ptr,
    sin_ptr,
    query_ptr,
    key_ptr,
    x_ptr,
    inverse_ptr,
    heads,
    size,
    half,
    token_stride,
    head_stride,
    table_stride,
    queries,
    ROTATED: tl.constexpr,
    TAILED: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    TAIL: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    column = tl.arange(0, HALF)
    tail_column = 2 * half + tl.arange(0, TAIL)
    in_half = (head < heads)[:, None] & (column < half)[None, :]
    in_tail = (head < heads)[:, None] & (tail_column < size)[None, :]
    own = grad_ptr + token * token_stride + head[:, None] * head_stride
    first = tl.load(own + column[None, :], mask=in_half, other=0.0).to(tl.float32)
    second = tl.load(own + half + column[None, :], mask=in_half, other=0.0).to(tl.float32)
    if ROTATED:
        table = token * table_stride
        first, second = _rotate_halves(first, second, cos_ptr + table, sin_ptr + table, column, half, -1.0)
    is_query = head < queries
    kept = x_ptr + (token * heads + head[:, None]) * size
    inverse = tl.load(inverse_ptr + token * heads + head, mask=head < heads, other=0.0)[:, None]
    first_unit = tl.load(kept + column[None, :], mask=in_half, other=0.0).to(tl.float32) * inverse
    second_unit = tl.load(kept + half + column[None, :], mask=in_half, other=0.0).to(tl.float32) * inverse
    first *= _weights(query_ptr, key_ptr, column, in_half, is_query)
    second *= _weights(query_ptr, key_ptr, half + column, in_half, is_query)
    shared = tl.sum(first * first_unit, axis=1) + tl.sum(second * second_unit, axis=1)
    if TAILED:
        tail = tl.load(own + tail_column[None, :], mask=in_tail, other=0.0).to(tl.float32)
        tail_unit = tl.load(kept + tail_column[None, :], mask=in_tail, other=0.0).to(tl.float32) * inverse
        tail *= _weights(query_ptr, key_ptr, tail_column, in_tail, is_query)
        shared += tl.sum(tail * tail_unit, axis=1)
        tail = (tail - tail_unit * (shared / size)[:, None]) * inverse
        tl.store(own + tail_column[None, :], tail.to(grad_ptr.dtype.element_ty), mask=in_tail)
    shared = (shared / size)[:, None]
    first = (first - first_unit * shared) * inverse
    second = (second - second_unit * shared) * inverse
    tl.store(own + column[None, :], first.to(grad_ptr.dtype.element_ty), mask=in_half)
    tl.store(own + half + column[None, :], second.to(grad_ptr.dtype.element_ty), mask=in_half)
