"""How the tokens of several jobs lie in one pass, so that one product serves the adapters of all of them.

Jobs whose adapters have one shape and whose batches are of like size form a section: each has a block of as many rows,
filled up at its end with tokens that nobody learns from, and likewise as many targets. A job alone is laid out the same
way, so that company changes none of its numbers.

oneDNN compiles each product for its very number of rows, which takes longer than a small pass itself; numbers of rows
are rounded so that they recur.

Shape suffixes: T tokens of the pass, filling among them; N targets, likewise.
"""

from collections.abc import Hashable, Sequence
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


@dataclass(frozen=True, slots=True)
class _Owned:
    """What a pack holds of one owner: pieces, tokens and targets."""

    pieces: slice
    tokens: slice
    targets: slice


@dataclass(slots=True)
class _Rows:
    """A layout under way: tensors to be put end to end, and how many rows and targets they come to."""

    lengths: list[int] = field(default_factory=list)
    continued: list[int | None] = field(default_factory=list)
    ids: list[Tensor] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    predicting: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    rows: int = 0
    places: int = 0

    def take(self, pack: Pack, own: _Owned, section: Section, longest: int) -> None:
        """Add an owner's block, filled up to its section's size in pieces of at most `longest`."""
        begin, moved = self.rows, len(self.lengths) - own.pieces.start
        self.continued += [None if other is None else other + moved for other in pack.continued[own.pieces]]
        self.lengths += pack.lengths[own.pieces]
        self.ids.append(pack.ids_T[own.tokens])
        self.positions.append(pack.positions_T[own.tokens])
        self.predicting.append(pack.predicting_N[own.targets] + (begin - own.tokens.start))
        self.targets.append(pack.targets_N[own.targets])
        self.rows += section.tokens
        self.places += section.targets
        missing = section.tokens - (own.tokens.stop - own.tokens.start)
        if missing:
            pieces = [longest] * (missing // longest) + [missing % longest] * (missing % longest > 0)
            self.lengths += pieces
            self.continued += [None] * len(pieces)
            self.ids.append(torch.zeros(missing, dtype=torch.long))
            # None is beyond those of real tokens: some models choose their rotations by the largest one.
            self.positions.append(torch.arange(missing) % longest % max(pack.lengths))
        if missing_targets := section.targets - (own.targets.stop - own.targets.start):
            spare = self.rows - 1
            if not missing:
                taken = set(self.predicting[-1].tolist())
                spare = next(row for row in range(self.rows - 1, begin - 1, -1) if row not in taken)
            self.predicting.append(torch.full((missing_targets,), spare))
            self.targets.append(torch.zeros(missing_targets, dtype=torch.long))


def lay_out(pack: Pack, sections: Sequence[Section], *, longest: int | None = None) -> Layout:
    """Lay the owners' tokens out; the pack holds them in ascending order of owners.

    No piece of filling is longer than `longest`; None: than the pack's longest.
    """
    by_owner = _by_owner(pack)
    rows, longest = _Rows(), longest or max(pack.lengths)
    places_N = torch.empty(len(pack.targets_N), dtype=torch.long)
    for section in sections:
        for owner in section.owners:
            own = by_owner[owner]
            places_N[own.targets] = torch.arange(rows.places, rows.places + own.targets.stop - own.targets.start)
            rows.take(pack, own, section, longest)
    return Layout(
        lengths=tuple(rows.lengths),
        continued=tuple(rows.continued),
        ids_T=torch.cat(rows.ids),
        positions_T=torch.cat(rows.positions),
        predicting_N=torch.cat(rows.predicting),
        targets_N=torch.cat(rows.targets),
        places_N=places_N,
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


def _by_owner(pack: Pack) -> list[_Owned]:
    found, piece, token, target = [], 0, 0, 0
    for tokens, targets in zip(
        torch.bincount(pack.owners_T).tolist(), torch.bincount(pack.owners_N).tolist(), strict=True
    ):
        first, length = piece, 0
        while length < tokens:
            length, piece = length + pack.lengths[piece], piece + 1
        found.append(_Owned(slice(first, piece), slice(token, token + tokens), slice(target, target + targets)))
        token, target = token + tokens, target + targets
    return found
