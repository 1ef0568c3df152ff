"""LoRA products for rows that each have their own adapter, for all layers of a group together.

Small adapters take one kernel: each program computes x A again for the tile of outputs that it writes, which costs
little. Larger adapters take two kernels. The first (shrink) computes x A; several programs share a row, each with one
split of its inputs (split-K). The second (expand) adds the splits' sums, always in the same order, and multiplies by B.
Either way the result is rounded once.

Shape suffixes: B rows that have adapters, Y all rows, D inputs, O outputs of all layers side by side, C adapters that a
table has room for, R ranks of all layers side by side, S splits of the inputs.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_LAYERS = 4
"""The most layers of one group."""
_TILE = 4096
"""How many numbers of a table a program loads at a time."""
_SPLITS = 16
"""The number of splits of a row's inputs, unless a program would loop over more than `_LOOPS` tiles."""
_LOOPS = 8
_SMALL = 8 * _TILE
"""The most numbers in one adapter's A of one layer at which the adapter counts as small, and takes one kernel."""


def add_rows(
    x_YD: Tensor,
    a_CDR: Tensor,
    bs_CRO: Sequence[Tensor],
    rank: int,
    places_B: Tensor,
    y_YO: Tensor,
    rows_B: Tensor | None = None,
) -> None:
    """Add x A B to rows of `y_YO`; computed in fp32 and rounded once at the end.

    Args:
        x_YD: the group's inputs.
        a_CDR: the adapters' A, all layers side by side; contiguous.
        bs_CRO: the adapters' B of each layer, multiplied by the scale; contiguous.
        rank: the rank of one layer.
        places_B: the index of each row's adapter in the tables; negative: nothing is added.
        y_YO: the layers' outputs side by side.
        rows_B: the indices of these rows in x and y, each at most once; None: all, in order.

    """
    rows, inputs = len(places_B), a_CDR.shape[1]
    if not rows:
        return
    tile_rank = triton.next_power_of_2(rank)
    outputs = [b_CRO.shape[2] for b_CRO in bs_CRO] + [0] * (MOST_LAYERS - len(bs_CRO))
    is_small = inputs * tile_rank <= _SMALL
    tile_outputs = min(max(_TILE // tile_rank, 16), 256 if is_small else 128)
    grid = rows, sum(triton.cdiv(each, tile_outputs) for each in outputs)
    chosen = [places_B, places_B if rows_B is None else rows_B]
    expanded = [*bs_CRO, *[bs_CRO[0]] * (MOST_LAYERS - len(bs_CRO)), *chosen, y_YO, *outputs]
    tiles = {"has_rows": rows_B is not None, "tile_rank": tile_rank, "tile_outputs": tile_outputs}
    if is_small:
        tile_inputs = min(max(_TILE // tile_rank, 16), triton.next_power_of_2(inputs))
        loops = triton.cdiv(inputs, tile_inputs)
        own = [inputs, rank, a_CDR.shape[2], *x_YD.stride(), *y_YO.stride()]
        _add[grid](x_YD, a_CDR, *expanded, *own, loops=loops, tile_inputs=tile_inputs, **tiles)
        return
    low_SBR = _shrunk(x_YD, a_CDR, *chosen, has_rows=rows_B is not None)
    splits, _, ranks = low_SBR.shape
    tile_splits = min(triton.next_power_of_2(splits), max(_TILE // tile_rank, 1))
    _expand[grid](low_SBR, *expanded, splits, rank, ranks, rows, *y_YO.stride(), tile_splits=tile_splits, **tiles)


def _shrunk(x_YD: Tensor, a_CDR: Tensor, places_B: Tensor, rows_B: Tensor, *, has_rows: bool) -> Tensor:
    """The product x A, as one partial sum for each split: `SBR` in fp32. Rows with a negative place are not written."""
    rows, inputs, ranks = len(places_B), a_CDR.shape[1], a_CDR.shape[2]
    tile_ranks = triton.next_power_of_2(ranks)
    tile_inputs = min(max(_TILE // tile_ranks, 16), 256)
    tiles = triton.cdiv(inputs, tile_inputs)
    loops = min(triton.cdiv(tiles, _SPLITS), _LOOPS)
    splits = triton.cdiv(tiles, loops)
    low_SBR = torch.empty((splits, rows, ranks), dtype=torch.float32, device=x_YD.device)
    _shrink[rows, splits](
        x_YD,
        a_CDR,
        places_B,
        rows_B,
        low_SBR,
        inputs,
        ranks,
        rows,
        *x_YD.stride(),
        has_rows=has_rows,
        loops=loops,
        tile_inputs=tile_inputs,
        tile_ranks=tile_ranks,
    )
    return low_SBR


@triton.jit(do_not_specialize_on_alignment=["places_ptr", "rows_ptr"])
def _add(
    x_ptr,
    a_ptr,
    b0_ptr,
    b1_ptr,
    b2_ptr,
    b3_ptr,
    places_ptr,
    rows_ptr,
    y_ptr,
    outputs0,
    outputs1,
    outputs2,
    outputs3,
    inputs,
    rank,
    ranks,
    x_row_stride,
    x_stride,
    y_row_stride,
    y_stride,
    has_rows: tl.constexpr,
    loops: tl.constexpr,
    tile_inputs: tl.constexpr,
    tile_rank: tl.constexpr,
    tile_outputs: tl.constexpr,
):
    index = tl.program_id(0)
    tile = tl.program_id(1)
    place = tl.load(places_ptr + index).to(tl.int64)
    if place >= 0:
        row = index.to(tl.int64)
        if has_rows:
            row = tl.load(rows_ptr + index).to(tl.int64)
        begin1 = tl.cdiv(outputs0, tile_outputs)
        begin2 = begin1 + tl.cdiv(outputs1, tile_outputs)
        begin3 = begin2 + tl.cdiv(outputs2, tile_outputs)
        layer = (tile >= begin1).to(tl.int32) + (tile >= begin2).to(tl.int32) + (tile >= begin3).to(tl.int32)
        x_ptr += row * x_row_stride
        a_ptr += place * inputs * ranks + layer * rank
        low_R = _product(x_ptr, a_ptr, 0, inputs, rank, ranks, x_stride, loops, tile_inputs, tile_rank)
        y_ptr += row * y_row_stride
        if layer == 0:
            _add_tile(low_R, b0_ptr, y_ptr, place, tile, outputs0, rank, y_stride, tile_rank, tile_outputs)
        elif layer == 1:
            y_ptr += outputs0 * y_stride
            _add_tile(low_R, b1_ptr, y_ptr, place, tile - begin1, outputs1, rank, y_stride, tile_rank, tile_outputs)
        elif layer == 2:
            y_ptr += (outputs0 + outputs1) * y_stride
            _add_tile(low_R, b2_ptr, y_ptr, place, tile - begin2, outputs2, rank, y_stride, tile_rank, tile_outputs)
        else:
            y_ptr += (outputs0 + outputs1 + outputs2) * y_stride
            _add_tile(low_R, b3_ptr, y_ptr, place, tile - begin3, outputs3, rank, y_stride, tile_rank, tile_outputs)


@triton.jit
def _product(
    x_ptr,
    a_ptr,
    begin,
    inputs,
    rank,
    ranks,
    x_stride,
    loops: tl.constexpr,
    tile_inputs: tl.constexpr,
    tile_rank: tl.constexpr,
):
    column_R = tl.arange(0, tile_rank)
    sum_DR = tl.zeros((tile_inputs, tile_rank), dtype=tl.float32)
    for loop in tl.static_range(loops):
        line_D = begin + loop * tile_inputs + tl.arange(0, tile_inputs)
        x_D = tl.load(x_ptr + line_D * x_stride, mask=line_D < inputs, other=0.0)
        a_DR = tl.load(
            a_ptr + line_D[:, None] * ranks + column_R[None, :],
            mask=(line_D[:, None] < inputs) & (column_R[None, :] < rank),
            other=0.0,
        )
        sum_DR += x_D.to(tl.float32)[:, None] * a_DR.to(tl.float32)
    # The sum over the threads is computed once, after the loop.
    return tl.sum(sum_DR, axis=0)


@triton.jit(do_not_specialize=["rows"], do_not_specialize_on_alignment=["places_ptr", "rows_ptr"])
def _shrink(
    x_ptr,
    a_ptr,
    places_ptr,
    rows_ptr,
    low_ptr,
    inputs,
    ranks,
    rows,
    x_row_stride,
    x_stride,
    has_rows: tl.constexpr,
    loops: tl.constexpr,
    tile_inputs: tl.constexpr,
    tile_ranks: tl.constexpr,
):
    index = tl.program_id(0)
    split = tl.program_id(1)
    place = tl.load(places_ptr + index).to(tl.int64)
    if place >= 0:
        row = index.to(tl.int64)
        if has_rows:
            row = tl.load(rows_ptr + index).to(tl.int64)
        x_ptr += row * x_row_stride
        a_ptr += place * inputs * ranks
        begin = split * loops * tile_inputs
        low_R = _product(x_ptr, a_ptr, begin, inputs, ranks, ranks, x_stride, loops, tile_inputs, tile_ranks)
        column_R = tl.arange(0, tile_ranks)
        tl.store(low_ptr + (split * rows + index) * ranks + column_R, low_R, mask=column_R < ranks)


@triton.jit(do_not_specialize=["rows", "splits"], do_not_specialize_on_alignment=["places_ptr", "rows_ptr"])
def _expand(
    low_ptr,
    b0_ptr,
    b1_ptr,
    b2_ptr,
    b3_ptr,
    places_ptr,
    rows_ptr,
    y_ptr,
    outputs0,
    outputs1,
    outputs2,
    outputs3,
    splits,
    rank,
    ranks,
    rows,
    y_row_stride,
    y_stride,
    has_rows: tl.constexpr,
    tile_splits: tl.constexpr,
    tile_rank: tl.constexpr,
    tile_outputs: tl.constexpr,
):
    index = tl.program_id(0)
    tile = tl.program_id(1)
    place = tl.load(places_ptr + index).to(tl.int64)
    if place >= 0:
        row = index.to(tl.int64)
        if has_rows:
            row = tl.load(rows_ptr + index).to(tl.int64)
        # Each layer has its own tiles.
        begin1 = tl.cdiv(outputs0, tile_outputs)
        begin2 = begin1 + tl.cdiv(outputs1, tile_outputs)
        begin3 = begin2 + tl.cdiv(outputs2, tile_outputs)
        layer = (tile >= begin1).to(tl.int32) + (tile >= begin2).to(tl.int32) + (tile >= begin3).to(tl.int32)
        low_R = _sum_of_splits(
            low_ptr + index * ranks + layer * rank, splits, rank, rows * ranks, tile_splits, tile_rank
        )
        y_ptr += row * y_row_stride
        if layer == 0:
            _add_tile(low_R, b0_ptr, y_ptr, place, tile, outputs0, rank, y_stride, tile_rank, tile_outputs)
        elif layer == 1:
            y_ptr += outputs0 * y_stride
            _add_tile(low_R, b1_ptr, y_ptr, place, tile - begin1, outputs1, rank, y_stride, tile_rank, tile_outputs)
        elif layer == 2:
            y_ptr += (outputs0 + outputs1) * y_stride
            _add_tile(low_R, b2_ptr, y_ptr, place, tile - begin2, outputs2, rank, y_stride, tile_rank, tile_outputs)
        else:
            y_ptr += (outputs0 + outputs1 + outputs2) * y_stride
            _add_tile(low_R, b3_ptr, y_ptr, place, tile - begin3, outputs3, rank, y_stride, tile_rank, tile_outputs)


@triton.jit
def _sum_of_splits(low_ptr, splits, rank, stride, tile_splits: tl.constexpr, tile_rank: tl.constexpr):
    column_R = tl.arange(0, tile_rank)
    low_R = tl.zeros((tile_rank,), dtype=tl.float32)
    for begin in range(0, splits, tile_splits):
        split_S = begin + tl.arange(0, tile_splits)
        low_SR = tl.load(
            low_ptr + split_S[:, None] * stride + column_R[None, :],
            mask=(split_S[:, None] < splits) & (column_R[None, :] < rank),
            other=0.0,
        )
        low_R += tl.sum(low_SR, axis=0)
    return low_R


@triton.jit
def _add_tile(
    low_R,
    b_ptr,
    y_ptr,
    place,
    tile,
    outputs,
    rank,
    y_stride,
    tile_rank: tl.constexpr,
    tile_outputs: tl.constexpr,
):
    line_R = tl.arange(0, tile_rank)
    column_O = tile * tile_outputs + tl.arange(0, tile_outputs)
    is_output_O = column_O < outputs
    b_RO = tl.load(
        b_ptr + place * rank * outputs + line_R[:, None] * outputs + column_O[None, :],
        mask=(line_R[:, None] < rank) & is_output_O[None, :],
        other=0.0,
    )
    added_O = tl.sum(low_R[:, None] * b_RO.to(tl.float32), axis=0)
    y_O = tl.load(y_ptr + column_O * y_stride, mask=is_output_O, other=0.0)
    y_O = y_O.to(tl.float32) + added_O
    tl.store(y_ptr + column_O * y_stride, y_O.to(y_ptr.dtype.element_ty), mask=is_output_O)
