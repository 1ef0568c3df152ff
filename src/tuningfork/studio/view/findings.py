"""What the check of a data set has found, with words for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tuningfork.studio.texts.catalog import Texts

Json = Mapping[str, Any]

SHOWN_ROWS = 8
"""How many rows are named for each finding."""


class Severity(StrEnum):
    """How much a finding matters. Errors must be mended before a tuning can start."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


_ORDER = list(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """Something that mends a finding at once. `changes`: how many rows it changes."""

    id: str
    title: str
    changes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. `row_numbers` are the first rows of it, `row_ids` all that the API has named."""

    id: str
    severity: Severity
    title: str
    description: str
    count: int
    row_numbers: tuple[int, ...]
    row_ids: tuple[int, ...]
    fixes: tuple[Fix, ...]
    labels: tuple[tuple[str, int], ...]

    def rows_more(self) -> int:
        """How many rows are not among `row_numbers`."""
        return max(0, self.count - len(self.row_numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """How many examples have a length of `least` to `most` characters."""

    least: int
    most: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was found, errors first. Numbers that are None have not been counted."""

    all: tuple[Finding, ...]
    example_count: int
    token_count: int | None
    longest_token_count: int | None
    lengths: tuple[Bin, ...]

    def of(self, severity: Severity) -> int:
        """How many findings are that bad."""
        return sum(each.severity == severity for each in self.all)

    @property
    def errors(self) -> int:
        """How many findings must be mended."""
        return self.of(Severity.ERROR)

    @property
    def most_in_a_bin(self) -> int:
        """The count of the largest bin; 0: there are none."""
        return max((each.count for each in self.lengths), default=0)

    def named(self, finding_id: str) -> Finding | None:
        """The finding of this id; None: there is none."""
        return next((each for each in self.all if each.id == finding_id), None)


def findings_of(check: Json, texts: Texts) -> Findings:
    """The findings in an answer to `:check`."""
    found = [_finding(each, texts) for each in check.get("findings", ())]
    return Findings(
        all=tuple(sorted(found, key=lambda each: _ORDER.index(each.severity))),
        example_count=int(check.get("exampleCount", 0)),
        token_count=check.get("tokenCount"),
        longest_token_count=check.get("longestTokenCount"),
        lengths=tuple(
            Bin(least=int(each.get("from", 0)), most=int(each.get("to", 0)), count=int(each.get("count", 0)))
            for each in check.get("lengths", ())
        ),
    )


def _finding(found: Json, texts: Texts) -> Finding:
    rows = found.get("rows", ())
    severity = str(found.get("severity", "")).lower()
    return Finding(
        id=str(found["id"]),
        severity=Severity(severity) if severity in _ORDER else Severity.INFO,
        title=_title(f"create.finding.{found['id']}", found, texts),
        description=str(found.get("description", "")),
        count=int(found.get("count", 0)),
        row_numbers=tuple(int(row["number"]) for row in rows[:SHOWN_ROWS]),
        row_ids=tuple(int(row["id"]) for row in rows),
        fixes=tuple(
            Fix(
                id=str(fix["id"]),
                title=_title(f"create.fix.{fix['id']}", fix, texts),
                changes=int(fix.get("changes", 0)),
            )
            for fix in found.get("fixes", ())
        ),
        labels=tuple((str(each.get("text", "")), int(each.get("count", 0))) for each in found.get("values", ())),
    )


def _title(text_id: str, told: Json, texts: Texts) -> str:
    """Our words, where there are some for this id; else the server's, which may be newer."""
    if not texts.has(text_id):
        return str(told.get("title", told["id"]))
    return texts(text_id, count=int(told.get("changes", told.get("count", 0))))
