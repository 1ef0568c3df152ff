"""Attention of rows with one new token each, over keys and values in pages.

A program processes a range of one row's tokens (a split) for all query heads of one key/value head, with an online
softmax (Milakov & Gimelshein 2018). If rows are few and long, several programs share a row's tokens, and a second
kernel combines their results (Flash-Decoding: Dao et al. 2023).

Shape suffixes: B rows, H query heads, G key/value heads, N = H / G query heads on one of them, K size of queries and
keys, V of values, X places of the cache, P pages of a row, padded, S tokens of a tile, I splits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tuningfork.modeling.kernels.base import NewTokens

_LEAST_HEADS = 16
"""The smallest number of rows of a matrix product on tensor cores; fewer query heads are padded to it."""
_PROGRAMS = 128
"""The number of programs that keeps a GPU busy."""
_SPLIT_TOKENS = 256
"""The fewest tokens in a split: with shorter splits the second kernel takes more time than the splits save."""
_MOST_SPLITS = 32
_WIDE_BYTES = 256
"""If a key or value is larger than this, tiles have fewer tokens, since a program's shared memory is small."""


def attend_rows(
    query_BHK: Tensor,
    keys_GXK: Tensor,
    values_GXV: Tensor,
    pages_BP: Tensor,
    ends_B: Tensor,
    *,
    page_tokens: int,
    scaling: float,
    sliding_window: int | None,
    softcap: float | None,
    new: NewTokens | None = None,
    splits: int | None = None,
) -> Tensor:
    """The attention output `BHV` of each row's last token; see `PagedAttention.attend_rows` in `base`."""
    (rows, heads, _), (groups, _, value_size) = query_BHK.shape, values_GXV.shape
    if splits is None:
        splits = _split_count(rows * groups, pages_BP.shape[1] * page_tokens)
    out_BHV = torch.empty((rows, heads, value_size), dtype=query_BHK.dtype, device=query_BHK.device)
    found_IBHV, tops_IBH, masses_IBH = out_BHV, ends_B, ends_B
    if splits > 1:
        found_IBHV = torch.empty((splits, *out_BHV.shape), dtype=torch.float32, device=out_BHV.device)
        tops_IBH, masses_IBH = torch.empty((2, splits, rows, heads), dtype=torch.float32, device=out_BHV.device)
    fed = NewTokens(query_BHK, query_BHK, ends_B) if new is None else new
    given = [query_BHK, keys_GXK, values_GXV, pages_BP, ends_B, fed.key_BGK, fed.value_BGV, fed.places_B]
    how = [scaling, sliding_window or 0, softcap or 0.0, rows, keys_GXK.shape[1], pages_BP.stride(0)]
    strides = [*query_BHK.stride(), *fed.key_BGK.stride(), *fed.value_BGV.stride()]
    _attend[rows, groups, splits](
        *[*given, found_IBHV, tops_IBH, masses_IBH, *how, *strides],
        page_tokens=page_tokens,
        has_window=sliding_window is not None,
        has_softcap=softcap is not None,
        is_new=new is not None,
        is_single_split=splits == 1,
        # Triton's interpreter, which runs on CPU tensors, cannot multiply bfloat16.
        widen=not query_BHK.is_cuda,
        **_sizes(query_BHK, keys_GXK, values_GXV),
    )
    if splits > 1:
        tile_value = triton.next_power_of_2(value_size)
        tiles = {"tile_splits": triton.next_power_of_2(splits), "tile_value": tile_value}
        parts = [found_IBHV, tops_IBH, masses_IBH, out_BHV]
        _combine[rows, heads](*parts, splits, rows * heads, value_size=value_size, **tiles, num_warps=2)
    return out_BHV


def _sizes(query_BHK: Tensor, keys_GXK: Tensor, values_GXV: Tensor) -> dict[str, int]:
    heads, size, value_size = query_BHK.shape[1] // len(keys_GXK), query_BHK.shape[2], values_GXV.shape[2]
    is_wide = triton.next_power_of_2(max(size, value_size)) * keys_GXK.element_size() > _WIDE_BYTES
    return {
        "heads": heads,
        "size": size,
        "value_size": value_size,
        "tile_heads": max(triton.next_power_of_2(heads), _LEAST_HEADS),
        "tile_size": max(triton.next_power_of_2(size), 16),
        "tile_value": max(triton.next_power_of_2(value_size), 16),
        "tile_tokens": 32 if is_wide else 64,
        "num_stages": 1 if is_wide else 2,
    }


def _split_count(programs: int, tokens: int) -> int:
    wanted = -(-_PROGRAMS // programs)
    return max(1, min(wanted, tokens // _SPLIT_TOKENS, _MOST_SPLITS))


@triton.jit(
    do_not_specialize=["rows", "window", "page_stride", "places"],
    # These pointers are views of one buffer at any offset, so alignment must not be assumed.
    do_not_specialize_on_alignment=["pages_ptr", "ends_ptr", "places_ptr"],
)
def _attend(
    query_ptr, keys_ptr, values_ptr, pages_ptr, ends_ptr, new_key_ptr, new_value_ptr, places_ptr,
    found_ptr, tops_ptr, masses_ptr, scaling, window, softcap, rows, places, page_stride,
    query_row_stride, query_head_stride, query_stride, key_row_stride, key_head_stride, key_stride,
    value_row_stride, value_head_stride, value_stride, heads: tl.constexpr, size: tl.constexpr,
    value_size: tl.constexpr, page_tokens: tl.constexpr, has_window: tl.constexpr, has_softcap: tl.constexpr,
    is_new: tl.constexpr, is_single_split: tl.constexpr, widen: tl.constexpr, tile_heads: tl.constexpr,
    tile_size: tl.constexpr, tile_value: tl.constexpr, tile_tokens: tl.constexpr,
):  # fmt: skip
    row, group, split = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2)
    head_N, feature_K, feature_V = tl.arange(0, tile_heads), tl.arange(0, tile_size), tl.arange(0, tile_value)
    query_ptr += row * query_row_stride + group * heads * query_head_stride
    query_ptr += head_N[:, None] * query_head_stride + feature_K[None, :] * query_stride
    query_NK = tl.load(query_ptr, mask=(head_N[:, None] < heads) & (feature_K[None, :] < size), other=0.0)
    end = tl.load(ends_ptr + row).to(tl.int32)
    first = tl.maximum(end - window, 0) if has_window else 0
    # A large finite number instead of infinity, since infinity minus infinity is NaN.
    top_N = tl.full((tile_heads,), -1.0e30, dtype=tl.float32)
    mass_N = tl.zeros((tile_heads,), dtype=tl.float32)
    found_NV = tl.zeros((tile_heads, tile_value), dtype=tl.float32)
    keys_ptr += group * places * size
    values_ptr += group * places * value_size
    if is_new:
        # The new token is read from its own tensor; the program of the row's first split writes it to the cache.
        end -= 1
        if split == 0:
            place = tl.load(places_ptr + row).to(tl.int64)
            new_key_ptr += row * key_row_stride + group * key_head_stride
            new_value_ptr += row * value_row_stride + group * value_head_stride
            key_K = _copied(new_key_ptr, key_stride, keys_ptr + place * size, feature_K, size)
            value_V = _copied(new_value_ptr, value_stride, values_ptr + place * value_size, feature_V, value_size)
            product_N = tl.sum(query_NK.to(tl.float32) * key_K.to(tl.float32)[None, :], axis=1)
            top_N = _scored(product_N, scaling, softcap, has_softcap)
            mass_N += 1.0
            found_NV += value_V.to(tl.float32)[None, :]
    pages_ptr += row * page_stride
    begin_tile = first // tile_tokens
    own_tiles = tl.cdiv(tl.cdiv(end, tile_tokens) - begin_tile, tl.num_programs(2))
    begin_tile += split * own_tiles
    for tile in range(begin_tile, tl.minimum(begin_tile + own_tiles, tl.cdiv(end, tile_tokens))):
        token_S = tile * tile_tokens + tl.arange(0, tile_tokens)
        is_seen_S = (token_S >= first) & (token_S < end)
        page_S = tl.load(pages_ptr + token_S // page_tokens, mask=is_seen_S, other=0).to(tl.int64)
        place_S = page_S * page_tokens + token_S % page_tokens
        key_KS = _gathered(keys_ptr, place_S[None, :], is_seen_S[None, :], feature_K[:, None], size)
        value_SV = _gathered(values_ptr, place_S[:, None], is_seen_S[:, None], feature_V[None, :], value_size)
        score_NS = _scored(_product(query_NK, key_KS, widen), scaling, softcap, has_softcap)
        score_NS = tl.where(is_seen_S[None, :], score_NS, float("-inf"))
        top_N, mass_N, found_NV = _softmax_step(score_NS, value_SV, top_N, mass_N, found_NV, widen)
    line_N = (row * tl.num_programs(1) + group) * heads + head_N
    if is_single_split:
        found_NV = found_NV / mass_N[:, None]
    else:
        line_N += split.to(tl.int64) * rows * tl.num_programs(1) * heads
        tl.store(tops_ptr + line_N, top_N, mask=head_N < heads)
        tl.store(masses_ptr + line_N, mass_N, mask=head_N < heads)
    found_ptr += line_N[:, None] * value_size + feature_V[None, :]
    is_found_NV = (head_N[:, None] < heads) & (feature_V[None, :] < value_size)
    tl.store(found_ptr, found_NV.to(found_ptr.dtype.element_ty), mask=is_found_NV)


@triton.jit
def _softmax_step(score_NS, value_SV, top_N, mass_N, found_NV, widen: tl.constexpr):
    new_top_N = tl.maximum(top_N, tl.max(score_NS, axis=1))
    weight_NS = tl.exp(score_NS - new_top_N[:, None])
    shrunk_N = tl.exp(top_N - new_top_N)
    mass_N = mass_N * shrunk_N + tl.sum(weight_NS, axis=1)
    found_NV = found_NV * shrunk_N[:, None] + _product(weight_NS.to(value_SV.dtype), value_SV, widen)
    return new_top_N, mass_N, found_NV


@triton.jit
def _gathered(ptr, place, is_seen, feature, size: tl.constexpr):
    return tl.load(ptr + place * size + feature, mask=is_seen & (feature < size), other=0.0)


@triton.jit
def _copied(source_ptr, stride, target_ptr, feature, size: tl.constexpr):
    numbers = tl.load(source_ptr + feature * stride, mask=feature < size, other=0.0)
    tl.store(target_ptr + feature, numbers, mask=feature < size)
    return numbers


@triton.jit
def _product(left, right, widen: tl.constexpr):
    if widen:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, input_precision="ieee")


@triton.jit
def _scored(product, scaling, softcap, has_softcap: tl.constexpr):
    score = product * scaling
    if has_softcap:
        # tanh, by way of the sigmoid.
        score = (2.0 * tl.sigmoid(2.0 * score / softcap) - 1.0) * softcap
    return score


@triton.jit(do_not_specialize=["splits", "lines"])
def _combine(
    found_ptr,
    tops_ptr,
    masses_ptr,
    out_ptr,
    splits,
    lines,
    value_size: tl.constexpr,
    tile_splits: tl.constexpr,
    tile_value: tl.constexpr,
):
    line = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    split_I = tl.arange(0, tile_splits)
    feature_V = tl.arange(0, tile_value)
    is_split_I = split_I < splits
    line_I = split_I.to(tl.int64) * lines + line
    top_I = tl.load(tops_ptr + line_I, mask=is_split_I, other=-1.0e30)
    mass_I = tl.load(masses_ptr + line_I, mask=is_split_I, other=0.0)
    found_IV = tl.load(
        found_ptr + line_I[:, None] * value_size + feature_V[None, :],
        mask=is_split_I[:, None] & (feature_V[None, :] < value_size),
        other=0.0,
    )
    share_I = tl.exp(top_I - tl.max(top_I, axis=0))
    found_V = tl.sum(found_IV * share_I[:, None], axis=0) / tl.sum(mass_I * share_I, axis=0)
    tl.store(
        out_ptr + line * value_size + feature_V,
        found_V.to(out_ptr.dtype.element_ty),
        mask=feature_V < value_size,
    )
