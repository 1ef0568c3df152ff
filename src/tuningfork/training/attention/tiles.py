"""The attention of one long token range, in tiles: some queries times some keys. Each tile takes a bounded time.

Let s be the scores of one query, z the logarithm of the sum of exp(s) over all its keys, and z_i, o_i the same number
and the output over the keys of tile i alone. Then its output is o = sum of exp(z_i - z) o_i. In the backward pass, with
g the gradient of o, each tile computes its share of the gradients by itself: with p = exp(s - z) and v the values,
ds = p (g v - g o) (Dao 2023, arXiv 2307.08691, algorithm 2). So only o and z are kept, and no score matrix.

Tiles are computed by torch's kernels for CPUs, which keep no score matrix either. Soft-capped scores are computed by
separate operations. Sums over tiles are in fp32.

Shape suffixes: T queries, S keys (the queries are the last T of S tokens), H query heads, G key/value heads,
R = 2 G, L = H + 2 G, K head size, B queries of a tile, C keys of a tile, X = B H / G.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.modeling.decoder.pieces import even_blocks

_PRODUCTS = 5
"""The matrix products of a tile's backward pass. A forward pass has two."""

_NOTHING = -1e30
"""The logarithm of a sum without any terms. Unlike minus infinity, it can be subtracted from itself."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of one range: `tokens` queries, which are the last of `keys` tokens.

    `side` is the largest number of queries, and of keys, of a tile.
    """

    parameters: AttentionParameters
    heads: int
    tokens: int
    keys: int
    side: int

    @classmethod
    def of(
        cls, parameters: AttentionParameters, heads: int, size: int, tokens: int, keys: int, *, piece: int
    ) -> "Tiles | None":
        """The tiles of a range with so many query heads of this size; None: the whole range is one piece.

        `piece`: about how many multiplications a piece has.
        """
        most_pairs = piece // (_PRODUCTS * heads * size)
        reach = min(keys, parameters.sliding_window or keys)
        if tokens * min(keys - tokens / 2, reach) <= most_pairs:
            return None
        return cls(parameters, heads, tokens, keys, max(1, math.isqrt(most_pairs)))

    def forward(self, all_SLK: Tensor, out_THK: Tensor) -> Generator[None, None, Tensor]:
        """Write the output into `out_THK`; returns the logarithms z of its queries, `HT` in fp32. Yields after tiles.

        `all_SLK` are the rotated queries, the rotated keys and the values of all tokens.
        """
        query_HTK, key_GSK, value_GSK = self._parts(all_SLK)
        log_sums_HT = out_THK.new_empty(self.heads, self.tokens, dtype=torch.float32)
        for begin, end in even_blocks(self.tokens, self.side):
            query_HBK = query_HTK[:, begin:end]
            sum_HBK = torch.zeros(query_HBK.shape, dtype=torch.float32)
            log_sum_HB = torch.full(query_HBK.shape[:2], _NOTHING)
            for tile in self._row(begin, end):
                own_HBK, own_HB = tile.forward(self.parameters, query_HBK, key_GSK, value_GSK)
                both_HB = torch.logaddexp(log_sum_HB, own_HB)
                sum_HBK.mul_((log_sum_HB - both_HB).exp_()[..., None])
                sum_HBK.add_(own_HBK * (own_HB - both_HB).exp_()[..., None])
                log_sum_HB = both_HB
                yield
            out_THK[begin:end] = sum_HBK.transpose(0, 1)
            log_sums_HT[:, begin:end] = log_sum_HB
        return log_sums_HT

    def backward(
        self, all_SLK: Tensor, out_THK: Tensor, log_sums_HT: Tensor, grad_THK: Tensor, query_grad_THK: Tensor
    ) -> Generator[None, None, Tensor]:
        """Write the queries' gradient into `query_grad_THK`; returns that of keys and values, `SRK` in fp32.

        `log_sums_HT` are what `forward` returned. Yields after tiles.
        """
        query_HTK, key_GSK, value_GSK = self._parts(all_SLK)
        out_HTK, grad_HTK = out_THK.transpose(0, 1), grad_THK.transpose(0, 1)
        groups = len(key_GSK)
        both_SRK = torch.zeros(self.keys, 2 * groups, all_SLK.shape[2])
        key_grad_GSK, value_grad_GSK = torch.split(both_SRK.transpose(0, 1), groups)
        for begin, end in even_blocks(self.tokens, self.side):
            own = slice(begin, end)
            whole = _Whole(grad_HTK[:, own], out_HTK[:, own], log_sums_HT[:, own].contiguous())
            sum_HBK = torch.zeros(whole.out_HBK.shape, dtype=torch.float32)
            for tile in self._row(begin, end):
                query, key, value = tile.backward(self.parameters, whole, query_HTK[:, own], key_GSK, value_GSK)
                sum_HBK += query
                key_grad_GSK[:, tile.first_key : tile.last_key] += _by_group(key, groups)
                value_grad_GSK[:, tile.first_key : tile.last_key] += _by_group(value, groups)
                yield
            query_grad_THK[own] = sum_HBK.transpose(0, 1)
        return both_SRK

    def _parts(self, all_SLK: Tensor) -> list[Tensor]:
        groups = (all_SLK.shape[1] - self.heads) // 2
        query_HSK, key_GSK, value_GSK = torch.split(all_SLK.transpose(0, 1), [self.heads, groups, groups])
        return [query_HSK[:, -self.tokens :], key_GSK, value_GSK]

    def _row(self, begin: int, end: int) -> Iterator["_Tile"]:
        """The tiles of the queries `begin` to `end`, from the first key that any of them attends to."""
        prefix, window = self.keys - self.tokens, self.parameters.window_within(self.keys)
        first, last = prefix + begin, prefix + end
        reached = 0 if window is None else max(0, first - window + 1)
        for key, key_end in even_blocks(first - reached, self.side):
            yield _Tile(first, last, reached + key, reached + key_end, window)
        yield _Tile(first, last, first, last, window)


@dataclass(frozen=True, slots=True)
class _Whole:
    """Of a tile's queries: the gradient of the output, the output over all keys, and its logarithms z."""

    grad_HBK: Tensor
    out_HBK: Tensor
    log_sum_HB: Tensor


@dataclass(frozen=True, slots=True)
class _Tile:
    """The queries `first` to `last`, counted as keys are, times the keys `first_key` to `last_key`.

    These are keys before the queries (and then before all of them), or the queries' own.
    """

    first: int
    last: int
    first_key: int
    last_key: int
    window: int | None

    def forward(
        self, parameters: AttentionParameters, query_HBK: Tensor, key_GSK: Tensor, value_GSK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The output `HBK` over the tile's keys alone, and its logarithms z, `HB` in fp32."""
        key_GCK, value_GCK = self._own(key_GSK), self._own(value_GSK)
        if parameters.softcap is not None:
            return self._softcapped(parameters.scaling, parameters.softcap, query_HBK, key_GCK, value_GCK)
        bias_BC, is_causal = self._mask()
        out_1HBK, log_sum_1HB = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(  # noqa: SLF001
            query_HBK[None],
            key_GCK[None],
            value_GCK[None],
            0.0,
            is_causal,
            attn_mask=bias_BC,
            scale=parameters.scaling,
        )
        if bias_BC is None:
            return out_1HBK[0], log_sum_1HB[0]
        # The kernel says 0 for a query without any key.
        return out_1HBK[0], log_sum_1HB[0].masked_fill(torch.isinf(bias_BC).all(dim=1), _NOTHING)

    def backward(
        self, parameters: AttentionParameters, whole: _Whole, query_HBK: Tensor, key_GSK: Tensor, value_GSK: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The tile's shares of the gradients: `HBK` of queries, and of keys and values `HCK` or already `GCK`."""
        key_GCK, value_GCK = self._own(key_GSK), self._own(value_GSK)
        if parameters.softcap is not None:
            return self._softcapped_backward(
                parameters.scaling, parameters.softcap, whole, query_HBK, key_GCK, value_GCK
            )
        bias_BC, is_causal = self._mask()
        # The kernel computes a head by one core, and sums the gradients of a group in the type of the tensors. So each
        # query head has a key/value head of its own here.
        each = len(query_HBK) // len(key_GCK)
        grads = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(  # noqa: SLF001
            whole.grad_HBK[None],
            query_HBK[None],
            key_GCK.repeat_interleave(each, 0)[None],
            value_GCK.repeat_interleave(each, 0)[None],
            whole.out_HBK[None],
            whole.log_sum_HB[None],
            0.0,
            is_causal,
            attn_mask=bias_BC,
            scale=parameters.scaling,
        )
        query_1HBK, key_1HCK, value_1HCK = grads
        return query_1HBK[0], key_1HCK[0], value_1HCK[0]

    def _softcapped(
        self, scaling: float, softcap: float, query_HBK: Tensor, key_GCK: Tensor, value_GCK: Tensor
    ) -> tuple[Tensor, Tensor]:
        query_GXK = _grouped(query_HBK, len(key_GCK))
        scores_GXC = self._capped(scaling, softcap, query_GXK, key_GCK).mul_(softcap)
        hidden_XC = self._hidden(query_GXK)
        if hidden_XC is not None:
            scores_GXC.masked_fill_(hidden_XC, _NOTHING)
        log_sum_GX1 = torch.logsumexp(scores_GXC, dim=-1, keepdim=True)
        weights_GXC = scores_GXC.sub_(log_sum_GX1).exp_()
        if hidden_XC is not None:
            weights_GXC.masked_fill_(hidden_XC, 0)
        out_GXK = torch.bmm(weights_GXC.to(value_GCK.dtype), value_GCK)
        return out_GXK.view(query_HBK.shape), log_sum_GX1.view(query_HBK.shape[:2])

    def _softcapped_backward(
        self, scaling: float, softcap: float, whole: _Whole, query_HBK: Tensor, key_GCK: Tensor, value_GCK: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        groups, dtype = len(key_GCK), query_HBK.dtype
        query_GXK, grad_GXK = _grouped(query_HBK, groups), _grouped(whole.grad_HBK, groups)
        capped_GXC = self._capped(scaling, softcap, query_GXK, key_GCK)
        weights_GXC = (capped_GXC * softcap).sub_(whole.log_sum_HB.reshape(groups, -1, 1)).exp_()
        hidden_XC = self._hidden(query_GXK)
        if hidden_XC is not None:
            weights_GXC.masked_fill_(hidden_XC, 0)
        value_grad_GCK = torch.bmm(weights_GXC.to(dtype).transpose(1, 2), grad_GXK)
        mean_GX1 = (whole.grad_HBK.float() * whole.out_HBK).sum(-1).reshape(groups, -1, 1)
        grad_GXC = torch.bmm(grad_GXK, value_GCK.transpose(1, 2)).float().sub_(mean_GX1).mul_(weights_GXC)
        grad_GXC.mul_(capped_GXC.square_().neg_().add_(1)).mul_(scaling)
        products_GXC = grad_GXC.to(dtype)
        query_grad_GXK = torch.bmm(products_GXC, key_GCK)
        return query_grad_GXK.view(query_HBK.shape), torch.bmm(products_GXC.transpose(1, 2), query_GXK), value_grad_GCK

    @staticmethod
    def _capped(scaling: float, softcap: float, query_GXK: Tensor, key_GCK: Tensor) -> Tensor:
        """The soft-capped scores divided by `softcap`, `GXC` in fp32."""
        return torch.bmm(query_GXK, key_GCK.transpose(1, 2)).float().mul_(scaling / softcap).tanh_()

    def _own(self, all_GSK: Tensor) -> Tensor:
        return all_GSK[:, self.first_key : self.last_key]

    def _hidden(self, query_GXK: Tensor) -> Tensor | None:
        """Which keys each query does not attend to, `XC`; None: each attends to all."""
        hidden_BC = self._hidden_pairs()
        return None if hidden_BC is None else hidden_BC.repeat(query_GXK.shape[1] // len(hidden_BC), 1)

    def _mask(self) -> tuple[Tensor | None, bool]:
        """The arguments of torch's kernels: a bias `BC` or None, and whether the tile is causal."""
        is_diagonal = self.first == self.first_key
        if is_diagonal and not self._is_beyond_window:
            return None, True
        hidden_BC = self._hidden_pairs()
        return None if hidden_BC is None else torch.zeros(hidden_BC.shape).masked_fill_(hidden_BC, -torch.inf), False

    @property
    def _is_beyond_window(self) -> bool:
        """Whether a key of the tile is outside the sliding window of one of its queries."""
        return self.window is not None and self.last - self.first_key > self.window

    def _hidden_pairs(self) -> Tensor | None:
        """Which keys each query does not attend to, `BC`; None: each attends to all."""
        if self.first != self.first_key and not self._is_beyond_window:
            return None
        distance_BC = torch.arange(self.first, self.last)[:, None] - torch.arange(self.first_key, self.last_key)
        hidden_BC = distance_BC < 0
        return hidden_BC if self.window is None else hidden_BC | (distance_BC >= self.window)


def _grouped(heads_HBK: Tensor, groups: int) -> Tensor:
    """The query heads of each key/value head as one batch, `GXK`."""
    return heads_HBK.reshape(groups, -1, heads_HBK.shape[2])


def _by_group(grad_HCK: Tensor, groups: int) -> Tensor:
    """The sum over the query heads of each key/value head, `GCK` in fp32."""
    return grad_HCK.reshape(groups, -1, *grad_HCK.shape[1:]).sum(1, dtype=torch.float32)
