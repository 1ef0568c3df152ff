"""Arranges the tokens of several jobs in one pass, so that their adapters can be multiplied in one batched product.

Jobs with adapters of one shape and batches of similar size form a section. Each job of a section has a block of equally
many rows, padded at its end with tokens without targets, and equally many targets. A single job is padded the same way,
so that its results do not depend on other jobs.

oneDNN compiles a product for each number of rows, which takes longer than a small pass. So numbers of rows are rounded
up to few different ones.

Shape suffixes: T tokens of the pass and N targets, padding included.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from tuningfork.modeling.adapters.cohorts import Cohort
from tuningfork.modeling.adapters.routes import Composite, Route, Routes
from tuningfork.training.batches import Pack

_COARSE, _FINE = 16, 4
_FINE_FROM = 128
"""From this many rows on, numbers of rows are rounded up to multiples of `_FINE`, below it to multiples of
`_COARSE`."""

_LEAST_SHARE = 0.75
"""A job joins a section if it has at least this share of the section's tokens and targets; the rest is padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One owner's part of a pass. Adapters of the same `kind` can be multiplied together."""

    owner: int
    kind: Hashable
    tokens: int
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Owners one after the other, each with `tokens` rows and `targets` targets."""

    owners: tuple[int, ...]
    tokens: int
    targets: int


def rounded(rows: int) -> int:
    """The number of rows to which a job's block with this many rows is padded."""
    step = _COARSE if rows < _FINE_FROM else _FINE
    return -(-rows // step) * step


def sections_of(shares: Sequence[Share], *, least: int = 1) -> list[Section]:
    """Group similar shares into sections; `least` is the smallest number of rows or targets of a block."""
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
    alike = (
        share.tokens >= _LEAST_SHARE * first.tokens
        and _LEAST_SHARE * targets <= share.targets <= targets / _LEAST_SHARE
    )
    return first.kind == share.kind and alike


def _section(shares: Sequence[Share], least: int) -> Section:
    # A padding token predicts the padding targets, so there has to be at least one.
    tokens = max(share.tokens + (share.tokens == share.targets) for share in shares)
    targets = max(share.targets for share in shares)
    return Section(
        owners=tuple(share.owner for share in shares),
        tokens=rounded(max(tokens, least)),
        targets=rounded(max(targets, least)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLayout:
    """A pack padded to sections. Target n of the pack is `targets_N[places_N[n]]`; the other targets are padding."""

    lengths: tuple[int, ...]
    prefixes: tuple[int | None, ...]
    ids_T: Tensor
    positions_T: Tensor
    predicting_N: Tensor
    targets_N: Tensor
    places_N: Tensor


@dataclass(frozen=True, slots=True)
class _OwnerRanges:
    """One owner's part of a pack: the slices of its token ranges, of its tokens and of its targets."""

    ranges: slice
    tokens: slice
    targets: slice


@dataclass(slots=True)
class _Rows:
    """Collects the tensors of a padded pack, and counts their rows and targets."""

    lengths: list[int] = field(default_factory=list)
    prefixes: list[int | None] = field(default_factory=list)
    ids: list[Tensor] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    predicting: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    rows: int = 0
    places: int = 0

    def add(self, pack: Pack, own: _OwnerRanges, section: Section, longest: int) -> None:
        """Add an owner's block, padded to its section's size with token ranges of at most `longest` tokens."""
        begin, moved = self.rows, len(self.lengths) - own.ranges.start
        self.prefixes += [None if other is None else other + moved for other in pack.prefixes[own.ranges]]
        self.lengths += pack.lengths[own.ranges]
        self.ids.append(pack.ids_T[own.tokens])
        self.positions.append(pack.positions_T[own.tokens])
        self.predicting.append(pack.predicting_N[own.targets] + (begin - own.tokens.start))
        self.targets.append(pack.targets_N[own.targets])
        self.rows += section.tokens
        self.places += section.targets
        missing = section.tokens - (own.tokens.stop - own.tokens.start)
        if missing:
            ranges = [longest] * (missing // longest) + [missing % longest] * (missing % longest > 0)
            self.lengths += ranges
            self.prefixes += [None] * len(ranges)
            self.ids.append(torch.zeros(missing, dtype=torch.long))
            # No padding position exceeds those of real tokens: some models select their rotations by the largest
            # position.
            self.positions.append(torch.arange(missing) % longest % max(pack.lengths))
        if missing_targets := section.targets - (own.targets.stop - own.targets.start):
            spare = self.rows - 1
            if not missing:
                taken = set(self.predicting[-1].tolist())
                spare = next(row for row in range(self.rows - 1, begin - 1, -1) if row not in taken)
            self.predicting.append(torch.full((missing_targets,), spare))
            self.targets.append(torch.zeros(missing_targets, dtype=torch.long))


def pad_to_sections(pack: Pack, sections: Sequence[Section], *, longest: int | None = None) -> PassLayout:
    """Pad a pack to the sizes of its sections. The pack's owners are in ascending order.

    A token range of padding has at most `longest` tokens; None: as many as the pack's longest range.
    """
    by_owner = _by_owner(pack)
    rows, longest = _Rows(), longest or max(pack.lengths)
    places_N = torch.empty(len(pack.targets_N), dtype=torch.long)
    for section in sections:
        for owner in section.owners:
            own = by_owner[owner]
            places_N[own.targets] = torch.arange(rows.places, rows.places + own.targets.stop - own.targets.start)
            rows.add(pack, own, section, longest)
    return PassLayout(
        lengths=tuple(rows.lengths),
        prefixes=tuple(rows.prefixes),
        ids_T=torch.cat(rows.ids),
        positions_T=torch.cat(rows.positions),
        predicting_N=torch.cat(rows.predicting),
        targets_N=torch.cat(rows.targets),
        places_N=places_N,
    )


def routes(sections: Sequence[Section], cohorts: Sequence[Cohort]) -> Routes:
    """The routes to each section's adapters, for all tokens and for those that predict targets."""
    return Routes(
        all=_route([len(section.owners) * section.tokens for section in sections], cohorts),
        tail=_route([len(section.owners) * section.targets for section in sections], cohorts),
    )


def _route(counts: Sequence[int], cohorts: Sequence[Cohort]) -> Route:
    if len(cohorts) == 1:
        return cohorts[0]
    begins = [0, *accumulate(counts)]
    return Composite([(slice(*rows), cohort) for rows, cohort in zip(pairwise(begins), cohorts, strict=True)])


def _by_owner(pack: Pack) -> list[_OwnerRanges]:
    found, index, token, target = [], 0, 0, 0
    for tokens, targets in zip(
        torch.bincount(pack.owners_T).tolist(), torch.bincount(pack.owners_N).tolist(), strict=True
    ):
        first, length = index, 0
        while length < tokens:
            length, index = length + pack.lengths[index], index + 1
        found.append(_OwnerRanges(slice(first, index), slice(token, token + tokens), slice(target, target + targets)))
        token, target = token + tokens, target + targets
    return found
