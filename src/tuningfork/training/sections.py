"""How the tokens of several jobs lie in one pass, so that one product serves the adapters of all of them.

Jobs whose adapters have one shape and whose batches are of like size form a section: each has a block of as many rows,
filled up at its end with tokens that nobody learns from, and likewise as many targets. A job alone is laid out the same
way, so that company changes none of its numbers.

oneDNN compiles each product for its very number of rows, which takes longer than a small pass itself; numbers of rows
are rounded so that they recur.

Shape suffixes: T tokens of the pass, filling among them; N targets, likewise.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from tuningfork.modeling.adapter_cohorts import Cohort
from tuningfork.modeling.adapter_routes import Composite, Route, Routes
from tuningfork.training.batches import Pack

_COARSE, _FINE = 16, 4
_FINE_FROM = 128
"""Small passes are rounded up to multiples of the coarse step, others to those of the fine one: 2 % of 200 tokens."""

_LIKE = 0.75
"""A job joins a section if it has at least this share of its tokens and targets; the rest is filling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One owner's part of a pass. Shares whose adapters can be multiplied together have the same `kind`."""

    owner: int
    kind: Hashable
    tokens: int
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Owners one after the other, each with so many rows and targets."""

    owners: tuple[int, ...]
    tokens: int
    targets: int


def rounded(rows: int) -> int:
    """To how many rows a job's block is filled up."""
    step = _COARSE if rows < _FINE_FROM else _FINE
    return -(-rows // step) * step


def sections_of(shares: Sequence[Share], *, least: int = 1) -> list[Section]:
    """Put like shares together; `least` is the smallest number of rows or targets that a block may have."""
    sections: list[list[Share]] = []
    for share in sorted(shares, key=lambda share: (-share.tokens, -share.targets)):
        section = next((section for section in sections if _joins(share, section)), None)
        if section is None:
            sections.append([share])
        else:
            section.append(share)
    return [_section(section, least) for section in sections]


def _joins(share: Share, section: Sequence[Share]) -> bool:
    first, targets = section[0], max(each.targets for each in section)
    alike = share.tokens >= _LIKE * first.tokens and _LIKE * targets <= share.targets <= targets / _LIKE
    return first.kind == share.kind and alike


def _section(shares: Sequence[Share], least: int) -> Section:
    # A token that predicts nothing stands in for missing targets; there has to be one.
    tokens = max(share.tokens + (share.tokens == share.targets) for share in shares)
    targets = max(share.targets for share in shares)
    return Section(
        owners=tuple(share.owner for share in shares),
        tokens=rounded(max(tokens, least)),
        targets=rounded(max(targets, least)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A pack in sections. Target n of the pack is at `places_N[n]` among `targets_N`; others weigh nothing."""

    lengths: tuple[int, ...]
    continued: tuple[int | None, ...]
    ids_T: Tensor
    positions_T: Tensor
    predicting_N: Tensor
    targets_N: Tensor
    places_N: Tensor


@dataclass(slots=True)
class _Rows:
    lengths: list[int] = field(default_factory=list)
    continued: list[int | None] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    predicting: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def fill(self, begin: int, first_target: int, section: Section, longest: int, positions: int) -> None:
        """Bring the block that begins there to its section's size, in pieces of at most `longest`.

        No position is beyond those of real tokens: some models choose their rotations by the largest one.
        """
        while (missing := begin + section.tokens - len(self.ids)) > 0:
            length = min(missing, longest)
            self.lengths.append(length)
            self.continued.append(None)
            self.ids += [0] * length
            self.positions += (place % positions for place in range(length))
        missing = first_target + section.targets - len(self.targets)
        if missing:
            taken = set(self.predicting[first_target:])
            spare = next(row for row in range(len(self.ids) - 1, begin - 1, -1) if row not in taken)
            self.predicting += [spare] * missing
            self.targets += [0] * missing


def lay_out(pack: Pack, sections: Sequence[Section], *, longest: int | None = None) -> Layout:
    """Lay the owners' tokens out; the pack holds them in ascending order of owners.

    No piece of filling is longer than `longest`; None: than the pack's longest.
    """
    tokens, targets = torch.bincount(pack.owners_T).tolist(), torch.bincount(pack.owners_N).tolist()
    by_owner = list(_pieces_of_owners(pack, tokens))
    ids, positions = pack.ids_T.tolist(), pack.positions_T.tolist()
    predicting, wanted = pack.predicting_N.tolist(), pack.targets_N.tolist()
    rows, longest, most = _Rows(), longest or max(pack.lengths), max(pack.lengths)
    places = [0] * len(wanted)
    for section in sections:
        for owner in section.owners:
            first, first_target = sum(tokens[:owner]), sum(targets[:owner])
            begin, begin_target = len(rows.ids), len(rows.targets)
            own, own_targets = (
                slice(first, first + tokens[owner]),
                slice(first_target, first_target + targets[owner]),
            )
            pieces = by_owner[owner]
            moved = len(rows.lengths) - pieces.start
            rows.continued += [None if other is None else other + moved for other in pack.continued[pieces]]
            rows.lengths += pack.lengths[pieces]
            rows.ids += ids[own]
            rows.positions += positions[own]
            rows.predicting += [row - first + begin for row in predicting[own_targets]]
            rows.targets += wanted[own_targets]
            places[own_targets] = range(begin_target, begin_target + targets[owner])
            rows.fill(begin, begin_target, section, longest, most)
    return Layout(
        lengths=tuple(rows.lengths),
        continued=tuple(rows.continued),
        ids_T=torch.tensor(rows.ids),
        positions_T=torch.tensor(rows.positions),
        predicting_N=torch.tensor(rows.predicting),
        targets_N=torch.tensor(rows.targets),
        places_N=torch.tensor(places),
    )


def routes(sections: Sequence[Section], cohorts: Sequence[Cohort]) -> Routes:
    """To each section's adapters, for all tokens and for those that predict targets."""
    return Routes(
        all=_route([len(section.owners) * section.tokens for section in sections], cohorts),
        tail=_route([len(section.owners) * section.targets for section in sections], cohorts),
    )


def _route(counts: Sequence[int], cohorts: Sequence[Cohort]) -> Route:
    if len(cohorts) == 1:
        return cohorts[0]
    begins = [0, *accumulate(counts)]
    return Composite([(slice(*rows), cohort) for rows, cohort in zip(pairwise(begins), cohorts, strict=True)])


def _pieces_of_owners(pack: Pack, tokens: Sequence[int]) -> Iterator[slice]:
    """Which of the pack's pieces are each owner's, who has so many tokens."""
    begin = 0
    for count in tokens:
        end, found = begin, 0
        while found < count:
            found, end = found + pack.lengths[end], end + 1
        yield slice(begin, end)
        begin = end
