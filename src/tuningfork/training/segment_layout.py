"""How the pieces of a training pass are batched for attention, and where each number goes and comes back from.

Shape suffixes: T packed tokens, H query heads, G key/value heads, L = H + 2 G, K head size, Z batched rows, R those of
them that are real, Q batched queries' rows, Y padding, B pieces of a bin, W their padded width, V that of the tokens
that they share, S = V + W.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_STEP = 16
"""Widths are rounded up to multiples of this."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens in a row of a pass, `begin` to `end`, which see each other and, before them, those of another piece.

    That other one is the beginning that several sequences share, computed once for all of them: `shared` tokens from
    `before` on.
    """

    begin: int
    end: int
    before: int = 0
    shared: int = 0

    @property
    def length(self) -> int:
        """Its own tokens."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Bin:
    """Pieces of one padded width with as many shared tokens before them."""

    width: int
    shared: int
    pieces: tuple[Piece, ...]

    @property
    def key_width(self) -> int:
        """Keys that each piece looks at, padding included."""
        return padded(self.shared) + self.width

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Each padded place's token `BW` (padding repeats the piece's last one), and whether it is a real one."""
        return _filled([piece.begin for piece in self.pieces], [piece.length for piece in self.pieces], self.width)

    def keys(self) -> tuple[Tensor, Tensor]:
        """The same for the keys: first the shared tokens, then the piece's own."""
        token_BW, real_BW = self.tokens()
        if not self.shared:
            return token_BW, real_BW
        begins = [piece.before for piece in self.pieces]
        token_BV, real_BV = _filled(begins, [self.shared] * len(begins), padded(self.shared))
        return torch.cat((token_BV, token_BW), dim=1), torch.cat((real_BV, real_BW), dim=1)

    def visible(self, window: int | None) -> Tensor:
        """Which keys each of a piece's places sees, within a sliding window if there is one."""
        place_V, place_W = torch.arange(padded(self.shared)), torch.arange(self.width)
        # Padding behind the shared tokens lies beyond every query's position.
        beyond = self.shared + self.width
        position_S = torch.cat((place_V.masked_fill(place_V >= self.shared, beyond), self.shared + place_W))
        position_W1 = self.shared + place_W[:, None]
        visible_WS = position_S <= position_W1
        return visible_WS if window is None else visible_WS & (position_S > position_W1 - window)


def padded(length: int) -> int:
    """Rounded up to the next width."""
    return -(-length // _STEP) * _STEP


def _filled(begins: Sequence[int], lengths: Sequence[int], width: int) -> tuple[Tensor, Tensor]:
    column_W = torch.arange(width)
    begin_B1, length_B1 = torch.tensor(begins)[:, None], torch.tensor(lengths)[:, None]
    return begin_B1 + torch.minimum(column_W, length_B1 - 1), column_W < length_B1


@dataclass(frozen=True, slots=True)
class Layout:
    """How a layer's heads are batched. Rows are heads of tokens, K numbers each.

    `entering_Z` are the rows of `TL` that the batched queries, keys and values are made of, `borders` where each
    bin's three begin and end among them. `leaving` are the batched queries' rows for each row of `TH`, and `slopes_Q`
    the rows of `TH` for the batched queries, of which `padding_Y` are none's. On the way back each row of `TL` is found
    at `returning` among the batched ones or, where pieces share tokens, is the sum of those of `real_R` that came from
    it: `sources_R`.
    """

    entering_Z: Tensor
    borders: tuple[int, ...]
    query_borders: tuple[int, ...]
    leaving: Tensor
    slopes_Q: Tensor
    padding_Y: Tensor
    returning: Tensor | None
    real_R: Tensor
    sources_R: Tensor

    @classmethod
    def of(cls, bins: Sequence[Bin], tokens: int, heads: int, groups: int, device: torch.device) -> Self:
        """Lay out these bins for so many query heads and key/value heads."""
        total = heads + 2 * groups
        # B G N W: heads of one group lie one below the other.
        head_GN1 = torch.arange(heads).view(groups, -1, 1)
        group_G1 = heads + torch.arange(groups)[:, None]
        entering, real, slopes, query_real, borders, query_borders = [], [], [], [], [0], [0]
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
            slopes.append((token_BW[:, None, None] * heads + head_GN1).flatten())
            query_borders.append(query_borders[-1] + query.numel())
        entering_Z, slopes_Q, real_Q = torch.cat(entering), torch.cat(slopes), torch.cat(query_real)
        real_R = torch.cat(real).nonzero().squeeze(1)
        shares = any(bin_.shared for bin_ in bins)
        return cls(
            entering_Z=entering_Z.to(device),
            borders=tuple(borders),
            query_borders=tuple(query_borders),
            leaving=_inverse(slopes_Q, real_Q.nonzero().squeeze(1), tokens * heads).to(device),
            slopes_Q=slopes_Q.to(device),
            padding_Y=(~real_Q).nonzero().squeeze(1).to(device),
            returning=None if shares else _inverse(entering_Z, real_R, tokens * total).to(device),
            real_R=real_R.to(device),
            sources_R=entering_Z[real_R].to(device),
        )


def _inverse(sources: Tensor, real_R: Tensor, count: int) -> Tensor:
    """For each of `count` rows the place that it went to; rows that went nowhere (long pieces') get place 0."""
    places = torch.zeros(count, dtype=torch.long)
    places[sources[real_R]] = real_R
    return places
