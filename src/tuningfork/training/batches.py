"""Chooses the examples of each step, and packs them into one row of tokens without padding.

Shape suffixes: T packed tokens, N targets (the tokens that are trained on) of a pack.
"""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import torch
from torch import Tensor

from tuningfork.domain.conversation import Example, Preference
from tuningfork.modeling.chat_template import Chat, RenderedRow


@dataclass(slots=True, kw_only=True)
class DataOrder:
    """The order in which a job sees its examples: each epoch is shuffled with another seed.

    It is a function of the arguments alone, so that a resumed job needs only its step number to go on with the same
    data. The order of each epoch in the last batch stays in memory, with four bytes for each example.
    """

    example_count: int
    epoch_count: int
    batch_size: int
    seed: int
    _epochs: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def batch(self, step: int) -> list[int]:
        """The examples' indices of this step, counted from 1. A batch may span epochs; the last one may be short."""
        first = (step - 1) * self.batch_size
        last = min(step * self.batch_size, self.example_count * self.epoch_count)
        places = [divmod(position, self.example_count) for position in range(first, last)]
        kept, self._epochs = self._epochs, {}
        for epoch in dict.fromkeys(epoch for epoch, _ in places):
            self._epochs[epoch] = kept[epoch] if epoch in kept else _shuffled(self.example_count, self.seed, epoch)
        return [int(self._epochs[epoch][place]) for epoch, place in places]


def _shuffled(count: int, seed: int, epoch: int) -> Tensor:
    # For a seed, Python guarantees the sequence of `random()` across versions, but not that of `shuffle`.
    draw = random.Random(f"{seed}/{epoch}").random
    keys = torch.frombuffer(array("d", (draw() for _ in range(count))), dtype=torch.float64)
    return torch.argsort(keys, stable=True).to(torch.int32)


@dataclass(frozen=True, slots=True)
class Segment:
    """One row of tokens, to be packed with others into a pass.

    `spans` holds the begin and end of each range of targets, in order; the first begins at 1 or later, the last ends
    the row.
    """

    ids_T: Tensor
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, row: RenderedRow) -> "Segment":
        """The segment of a rendered row."""
        return cls(torch.tensor(row.ids, dtype=torch.int32), row.targets)

    @property
    def first_target(self) -> int:
        """The index of the first target."""
        return self.spans[0][0]

    @property
    def tokens(self) -> int:
        """How many tokens the segment has."""
        return len(self.ids_T)

    @property
    def targets(self) -> int:
        """How many of its tokens are targets."""
        return sum(end - begin for begin, end in self.spans)

    def target_places(self) -> Tensor:
        """The indices of the targets in the row, `N`."""
        return torch.cat([torch.arange(begin, end) for begin, end in self.spans])


def segments_of(chat: Chat, example: Example) -> tuple[Segment, ...]:
    """Render an example as one segment or several; a preference has two, the chosen answer's first.

    Raises:
        InvalidArgument: the base model's template refuses the example.

    """
    rows = chat.render_preference(example) if isinstance(example, Preference) else chat.render_example(example)
    return tuple(map(Segment.of, rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedSegment:
    """A segment and its owner, which is the number of a job within the pass.

    Two segments of one owner with the same number `pair` are the two answers to one prompt: they are in one pass, and
    share a prefix with each other only. `pair` None: the segment is an example by itself.
    """

    segment: Segment
    owner: int
    pair: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The tokens of one forward pass: token ranges one after the other.

    A range is a whole segment, or a prefix that several segments share, or the rest of a segment after such a prefix.
    `prefixes` has, for each rest of a segment, the index of the range that is its prefix, and None for other ranges.

    `ids_T`, `positions_T` (within their segment) and `owners_T` describe the tokens; target n is predicted at token
    `predicting_N[n]`. All tensors are on the CPU.
    """

    lengths: tuple[int, ...]
    prefixes: tuple[int | None, ...]
    ids_T: Tensor
    positions_T: Tensor
    owners_T: Tensor
    predicting_N: Tensor
    targets_N: Tensor
    owners_N: Tensor


@dataclass(frozen=True, slots=True)
class _TokenRange:
    """Consecutive tokens of a segment, the first of them at `position`.

    `predicting_N` are the indices, in the range, of the tokens that predict `targets_N`. `prefix` is the index of the
    range that is the prefix of this one, or None.
    """

    ids_T: Tensor
    position: int
    owner: int
    prefix: int | None
    predicting_N: Tensor
    targets_N: Tensor


def pack(owned: Sequence[OwnedSegment], *, share: bool = False) -> Pack:
    """Pack the segments one after the other, each without its last token, which is a target but predicts nothing.

    Args:
        owned: the segments; those of one owner, and those of one pair, are consecutive.
        share: compute a common prefix only once: that of an owner's segments, such as a system instruction, or that of
            the two answers of a pair. Results are equal up to rounding, since in causal attention a token does not
            depend on later ones.

    """
    ranges: list[_TokenRange] = []
    for (owner, _), group in groupby(owned, key=_prefix_key):
        segments = [each.segment for each in group]
        shared = _shared_prefix_tokens(segments) if share else 0
        first = len(ranges)
        if shared:
            ids_T = segments[0].ids_T
            ranges.append(_TokenRange(ids_T[:shared], 0, owner, None, torch.empty(0, dtype=torch.long), ids_T[:0]))
        for segment in segments:
            targets_N = segment.target_places()
            own, wanted_N = segment.ids_T[shared:-1], segment.ids_T[targets_N]
            predicting_N = targets_N - 1 - shared
            ranges.append(_TokenRange(own, shared, owner, first if shared else None, predicting_N, wanted_N))
    lengths = tuple(len(part.ids_T) for part in ranges)
    begins = [0, *accumulate(lengths)]
    owners_T = torch.cat([torch.full((len(part.ids_T),), part.owner) for part in ranges])
    predicting_N = torch.cat([part.predicting_N + begin for part, begin in zip(ranges, begins, strict=False)])
    return Pack(
        lengths=lengths,
        prefixes=tuple(part.prefix for part in ranges),
        ids_T=torch.cat([part.ids_T for part in ranges]).long(),
        positions_T=torch.cat([part.position + torch.arange(len(part.ids_T)) for part in ranges]),
        owners_T=owners_T,
        predicting_N=predicting_N,
        targets_N=torch.cat([part.targets_N for part in ranges]).long(),
        owners_N=owners_T[predicting_N],
    )


def _prefix_key(owned: OwnedSegment) -> tuple[int, int | None]:
    """Segments with equal keys may share a prefix: an owner's examples, or the two answers of one pair."""
    return owned.owner, owned.pair


_LEAST_TOKENS_SAVED = 32
"""A prefix is shared if that saves at least this many tokens: for fewer, the additional token range costs more."""


def _shared_prefix_tokens(segments: Sequence[Segment]) -> int:
    """The length in tokens of the common prefix, which ends before the first token that predicts a target.

    0: sharing the prefix would save too few tokens.
    """
    most = min(segment.first_target for segment in segments) - 1
    if len(segments) < 2 or most * (len(segments) - 1) < _LEAST_TOKENS_SAVED:
        return 0
    heads = torch.stack([segment.ids_T[:most] for segment in segments])
    differing = (heads != heads[0]).any(dim=0).nonzero()
    shared = int(differing[0]) if len(differing) else most
    return shared if shared * (len(segments) - 1) >= _LEAST_TOKENS_SAVED else 0


def tokens_saved_by_sharing(owned: Sequence[OwnedSegment]) -> int:
    """How many tokens `pack` saves by sharing prefixes."""
    groups = ([each.segment for each in group] for _, group in groupby(owned, key=_prefix_key))
    return sum(_shared_prefix_tokens(segments) * (len(segments) - 1) for segments in groups)


def split(owned: Iterable[OwnedSegment], *, max_tokens: int, max_targets: int) -> Iterator[list[OwnedSegment]]:
    """Split a batch, in order, into groups that each fit into one forward pass.

    A pair is never split. A segment or pair above the limits is a group of its own.
    """
    group: list[OwnedSegment] = []
    tokens = targets = 0
    for example in _examples(owned):
        own_tokens = sum(each.segment.tokens for each in example)
        own_targets = sum(each.segment.targets for each in example)
        if group and (tokens + own_tokens > max_tokens or targets + own_targets > max_targets):
            yield group
            group, tokens, targets = [], 0, 0
        group += example
        tokens += own_tokens
        targets += own_targets
    if group:
        yield group


def _examples(owned: Iterable[OwnedSegment]) -> Iterator[list[OwnedSegment]]:
    for (_, pair), group in groupby(owned, key=_prefix_key):
        if pair is None:
            yield from ([each] for each in group)
        else:
            yield list(group)
