"""Which examples a step trains on, and how they lie in one packed row without padding.

Shape suffixes: T packed tokens, N targets (the tokens that are learned) of a pack.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

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
    """One forward pass: segments one after the other, each with positions from 0.

    `ids_T`, `positions_T` and `owners_T` describe the tokens; target n is predicted at token `predicting_N[n]`.
    All on the CPU.
    """

    lengths: tuple[int, ...]
    ids_T: Tensor
    positions_T: Tensor
    owners_T: Tensor
    predicting_N: Tensor
    targets_N: Tensor
    owners_N: Tensor


def pack(placed: Sequence[Placed]) -> Pack:
    """Lay the segments end to end, each without its last token: that one is learned, and nothing comes after it."""
    lengths = tuple(each.segment.tokens - 1 for each in placed)
    begins = [0, *accumulate(lengths)]
    predicting = [
        torch.arange(begin + each.segment.first_target - 1, begin + each.segment.tokens - 1)
        for begin, each in zip(begins, placed, strict=False)
    ]
    owners_T = torch.cat([torch.full((each.segment.tokens - 1,), each.owner) for each in placed])
    predicting_N = torch.cat(predicting)
    return Pack(
        lengths=lengths,
        ids_T=torch.cat([each.segment.ids_T[:-1] for each in placed]).long(),
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        owners_T=owners_T,
        predicting_N=predicting_N,
        targets_N=torch.cat([each.segment.ids_T[each.segment.first_target :] for each in placed]).long(),
        owners_N=owners_T[predicting_N],
    )


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
