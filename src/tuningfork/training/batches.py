"""Which examples a step trains on, and how they lie in one packed row without padding.

Shape suffixes: T packed tokens, N targets (the tokens that are learned) of a pack.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby

import torch
from torch import Tensor

from tuningfork.modeling.chat_template import RenderedExample


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOrder:
    """The order in which a job meets its examples: epochs one after the other, each shuffled anew.

    A pure function of its fields, so that a resumed job needs no more than its step to go on with the same data.
    """

    example_count: int
    epoch_count: int
    batch_size: int
    seed: int

    def batch(self, step: int) -> list[int]:
        """The examples' indices of this 1-based step. Batches cross the borders of epochs; the last may be short."""
        first = (step - 1) * self.batch_size
        last = min(step * self.batch_size, self.example_count * self.epoch_count)
        places = (divmod(position, self.example_count) for position in range(first, last))
        return [_shuffled(self.example_count, self.seed, epoch)[place] for epoch, place in places]


@lru_cache(maxsize=32)
def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    # Python promises the sequence of `random()` for a seed, across versions; it does not promise `shuffle`.
    draw = random.Random(f"{seed}/{epoch}").random
    keys = [draw() for _ in range(count)]
    return sorted(range(count), key=keys.__getitem__)


@dataclass(frozen=True, slots=True)
class Segment:
    """One example as a piece of a packed row. Tokens from `first_target` on are learned; it is at least 1."""

    ids_T: Tensor
    first_target: int

    @classmethod
    def of(cls, example: RenderedExample) -> "Segment":
        """The header followed by the output."""
        ids_T = torch.tensor([*example.header, *example.output], dtype=torch.int32)
        return cls(ids_T, example.first_target)

    @property
    def tokens(self) -> int:
        """Its length."""
        return len(self.ids_T)

    @property
    def targets(self) -> int:
        """How many of its tokens are learned."""
        return len(self.ids_T) - self.first_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A segment and whose it is: a number that the caller chose."""

    segment: Segment
    owner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One forward pass: pieces one after the other.

    A piece is a segment, or what an owner's segments begin with (once for all of them), or what is left of one of them:
    `continued` holds for each piece the index of the one that it goes on from, or None.

    `ids_T`, `positions_T` (within their segment) and `owners_T` describe the tokens; target n is predicted at token
    `predicting_N[n]`. All on the CPU.
    """

    lengths: tuple[int, ...]
    continued: tuple[int | None, ...]
    ids_T: Tensor
    positions_T: Tensor
    owners_T: Tensor
    predicting_N: Tensor
    targets_N: Tensor
    owners_N: Tensor


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tokens of a segment from this position on; `targets` are predicted by its last ones."""

    ids_T: Tensor
    position: int
    owner: int
    continued: int | None
    targets_N: Tensor


def pack(placed: Sequence[Placed], *, share: bool = False) -> Pack:
    """Lay the segments end to end, each without its last token: that one is learned, and nothing comes after it.

    Args:
        placed: the segments, each owner's together.
        share: compute once what all of an owner's segments begin with, such as a system instruction. That changes no
            number but by rounding: a token's numbers depend on nothing that comes after it.

    """
    pieces: list[_Piece] = []
    for owner, group in groupby(placed, key=lambda each: each.owner):
        segments = [each.segment for each in group]
        shared = _shared(segments) if share else 0
        first = len(pieces)
        if shared:
            pieces.append(_Piece(segments[0].ids_T[:shared], 0, owner, None, segments[0].ids_T[:0]))
        for segment in segments:
            own, wanted = segment.ids_T[shared:-1], segment.ids_T[segment.first_target :]
            pieces.append(_Piece(own, shared, owner, first if shared else None, wanted))
    lengths = tuple(len(piece.ids_T) for piece in pieces)
    predicting = [
        torch.arange(end - len(piece.targets_N), end) for piece, end in zip(pieces, accumulate(lengths), strict=True)
    ]
    owners_T = torch.cat([torch.full((len(piece.ids_T),), piece.owner) for piece in pieces])
    predicting_N = torch.cat(predicting)
    return Pack(
        lengths=lengths,
        continued=tuple(piece.continued for piece in pieces),
        ids_T=torch.cat([piece.ids_T for piece in pieces]).long(),
        positions_T=torch.cat([piece.position + torch.arange(len(piece.ids_T)) for piece in pieces]),
        owners_T=owners_T,
        predicting_N=predicting_N,
        targets_N=torch.cat([piece.targets_N for piece in pieces]).long(),
        owners_N=owners_T[predicting_N],
    )


_WORTH_SHARING = 32
"""Tokens that have to be saved: fewer are not worth the second piece."""


def _shared(segments: Sequence[Segment]) -> int:
    """How many tokens all of them begin with, at most up to the one before the first that predicts a target."""
    most = min(segment.first_target for segment in segments) - 1
    if len(segments) < 2 or most * (len(segments) - 1) < _WORTH_SHARING:
        return 0
    heads = torch.stack([segment.ids_T[:most] for segment in segments])
    differing = (heads != heads[0]).any(dim=0).nonzero()
    shared = int(differing[0]) if len(differing) else most
    return shared if shared * (len(segments) - 1) >= _WORTH_SHARING else 0


def saved_by_sharing(placed: Sequence[Placed]) -> int:
    """How many tokens fewer `pack` lays out where it shares what an owner's segments begin with."""
    by_owner = ([each.segment for each in group] for _, group in groupby(placed, key=lambda each: each.owner))
    return sum(_shared(segments) * (len(segments) - 1) for segments in by_owner)


def split(placed: Sequence[Placed], *, max_tokens: int, max_targets: int) -> Iterator[list[Placed]]:
    """Cut a batch into groups that one forward pass can hold, in order. A segment that is too long goes alone."""
    group: list[Placed] = []
    tokens = targets = 0
    for each in placed:
        tokens += each.segment.tokens
        targets += each.segment.targets
        if group and (tokens > max_tokens or targets > max_targets):
            yield group
            group, tokens, targets = [], each.segment.tokens, each.segment.targets
        group.append(each)
    if group:
        yield group
