"""The indices that gather the token ranges of a training pass into padded batches for attention, and scatter them back.

Shape suffixes: T packed tokens, H query heads, G key/value heads, L = H + 2 G, K head size, Z batched rows, R batched
rows that are not padding, Q batched rows of queries, Y padding rows of queries, B ranges of a bin, W their padded
width, V the padded width of their prefixes, S = V + W.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_STEP = 16
"""Padded widths are multiples of this."""


@dataclass(frozen=True, slots=True)
class TokenRange:
    """The tokens `begin` to `end` of a pass, which attend to each other and to the tokens of their prefix.

    The prefix is another range, of `prefix_tokens` tokens from token `prefix_begin` on, which several segments share.
    """

    begin: int
    end: int
    prefix_begin: int = 0
    prefix_tokens: int = 0

    @property
    def length(self) -> int:
        """How many tokens the range has, without its prefix."""
        return self.end - self.begin

    @property
    def prefix_end(self) -> int:
        """The end of the prefix."""
        return self.prefix_begin + self.prefix_tokens


@dataclass(frozen=True, slots=True)
class Bin:
    """Token ranges of one padded width, all with prefixes of the same length."""

    width: int
    prefix_tokens: int
    ranges: tuple[TokenRange, ...]

    @property
    def key_width(self) -> int:
        """How many keys each range attends to, padding included."""
        return padded(self.prefix_tokens) + self.width

    def tokens(self) -> tuple[Tensor, Tensor]:
        """The token at each place of the padded batch, `BW`, and whether it is real (padding repeats the last one)."""
        return _filled([each.begin for each in self.ranges], [each.length for each in self.ranges], self.width)

    def keys(self) -> tuple[Tensor, Tensor]:
        """Like `tokens`, for the keys `BS`: first the tokens of the prefix, then the range's own."""
        token_BW, real_BW = self.tokens()
        if not self.prefix_tokens:
            return token_BW, real_BW
        begins = [each.prefix_begin for each in self.ranges]
        token_BV, real_BV = _filled(begins, [self.prefix_tokens] * len(begins), padded(self.prefix_tokens))
        return torch.cat((token_BV, token_BW), dim=1), torch.cat((real_BV, real_BW), dim=1)

    def visible(self, window: int | None) -> Tensor:
        """Which keys each query of a range attends to, `WS`, within a sliding window if there is one."""
        place_V, place_W = torch.arange(padded(self.prefix_tokens)), torch.arange(self.width)
        # Padding after the prefix gets positions after all queries, so that it is masked.
        beyond = self.prefix_tokens + self.width
        position_S = torch.cat(
            (place_V.masked_fill(place_V >= self.prefix_tokens, beyond), self.prefix_tokens + place_W)
        )
        position_W1 = self.prefix_tokens + place_W[:, None]
        visible_WS = position_S <= position_W1
        return visible_WS if window is None else visible_WS & (position_S > position_W1 - window)


def padded(length: int) -> int:
    """The length rounded up to a multiple of `_STEP`."""
    return -(-length // _STEP) * _STEP


def _filled(begins: Sequence[int], lengths: Sequence[int], width: int) -> tuple[Tensor, Tensor]:
    column_W = torch.arange(width)
    begin_B1, length_B1 = torch.tensor(begins)[:, None], torch.tensor(lengths)[:, None]
    return begin_B1 + torch.minimum(column_W, length_B1 - 1), column_W < length_B1


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """Row indices between a layer's packed tensors and the batched tensors of its bins.

    A row is one head of one token, K numbers. Packed rows are those of `TLK` (queries, keys and values), or of `THK`
    (the output).

    Attributes:
        entering_Z: for each batched row the packed row that is copied to it.
        borders: where the queries, keys and values of each bin begin and end among the batched rows.
        query_borders: the same for batched rows of queries only.
        leaving: for each row of the output the batched query row that is copied to it.
        grads_Q: for each batched query row the row of the output's gradient that is copied to it.
        padding_Y: the batched query rows that are padding.
        returning: for each packed row the batched row with its gradient; None: ranges share prefixes.
        real_R: the batched rows that are not padding. If ranges share prefixes, their gradients are added up.
        sources_R: for each of these the packed row to which its gradient is added.

    """

    entering_Z: Tensor
    borders: tuple[int, ...]
    query_borders: tuple[int, ...]
    leaving: Tensor
    grads_Q: Tensor
    padding_Y: Tensor
    returning: Tensor | None
    real_R: Tensor
    sources_R: Tensor

    @classmethod
    def of(cls, bins: Sequence[Bin], tokens: int, heads: int, groups: int, device: torch.device) -> Self:
        """The indices for these bins, with `heads` query heads and `groups` key/value heads."""
        total = heads + 2 * groups
        # B G N W: the query heads that share a key/value head form one batch.
        head_GN1 = torch.arange(heads).view(groups, -1, 1)
        group_G1 = heads + torch.arange(groups)[:, None]
        entering, real, grads, query_real, borders, query_borders = [], [], [], [], [0], [0]
        for bin_ in bins:
            token_BW, real_BW = bin_.tokens()
            token_BS, real_BS = bin_.keys()
            query = token_BW[:, None, None] * total + head_GN1
            key = token_BS[:, None] * total + group_G1
            key_real = real_BS[:, None].expand(key.shape)
            query_real.append(real_BW[:, None, None].expand(query.shape).flatten())
            for part, own in ((query, query_real[-1]), (key, key_real), (key + groups, key_real)):
                entering.append(part.flatten())
                real.append(own.flatten())
                borders.append(borders[-1] + part.numel())
            grads.append((token_BW[:, None, None] * heads + head_GN1).flatten())
            query_borders.append(query_borders[-1] + query.numel())
        entering_Z, grads_Q, real_Q = torch.cat(entering), torch.cat(grads), torch.cat(query_real)
        real_R = torch.cat(real).nonzero().squeeze(1)
        shares = any(bin_.prefix_tokens for bin_ in bins)
        return cls(
            entering_Z=entering_Z.to(device),
            borders=tuple(borders),
            query_borders=tuple(query_borders),
            leaving=_inverse(grads_Q, real_Q.nonzero().squeeze(1), tokens * heads).to(device),
            grads_Q=grads_Q.to(device),
            padding_Y=(~real_Q).nonzero().squeeze(1).to(device),
            returning=None if shares else _inverse(entering_Z, real_R, tokens * total).to(device),
            real_R=real_R.to(device),
            sources_R=entering_Z[real_R].to(device),
        )


def _inverse(sources: Tensor, real_R: Tensor, count: int) -> Tensor:
    """For each of `count` rows the index that it was gathered to; 0 for rows of long ranges, which are not gathered."""
    places = torch.zeros(count, dtype=torch.long)
    places[sources[real_R]] = real_R
    return places
