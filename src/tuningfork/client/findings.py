"""What the losses of runs give reason to warn of: as the server tells it, and from the steps seen so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.dialect import Operation
from tuningfork.domain.diagnosis import diagnose
from tuningfork.domain.findings import Finding, FindingKind
from tuningfork.domain.tuning_job import Snapshot

_LEAST_STEPS = 8
"""Before this step nothing is said of a run that goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinding:
    """A finding as the server tells it. `kind` may be one that this version does not know."""

    kind: str
    description: str = ""
    advice: str = ""

    @property
    def in_short(self) -> str:
        """A few words for a table."""
        known = {each.value: each.in_short for each in FindingKind}
        return known.get(self.kind, self.kind.replace("_", " "))


def parse_diagnosis(answer: Json) -> tuple[RunFinding, ...]:
    """The findings of a tuningfork.v1.Diagnosis."""
    return tuple(
        RunFinding(
            kind=fields.name(each, "kind"),
            description=fields.text(each, "description", ""),
            advice=fields.text(each, "advice", ""),
        )
        for each in fields.objects(answer, "findings")
    )


def parse_diagnosed(answer: Json) -> tuple[str, tuple[RunFinding, ...]]:
    """The model's name and the findings of an entry of tuningfork.v1.ListDiagnosesResponse."""
    return fields.name(answer, "tunedModel"), parse_diagnosis(answer)


def of_steps(snapshots: Sequence[Snapshot]) -> tuple[RunFinding, ...]:
    """What these steps alone give reason to warn of."""
    return tuple(
        RunFinding(kind=each.kind.value, description=each.description, advice=each.advice)
        for each in _diagnosed(snapshots)
    )


def so_far(operation: Operation) -> str:
    """A few words about a run that goes on; "": there is nothing to warn of yet.

    A loss above its beginning is told at once; whether a loss is level or 0.000, only when half of the steps are taken.
    """
    if operation.done or operation.completed_steps < _LEAST_STEPS:
        return ""
    half = 2 * operation.completed_steps >= operation.total_steps
    found = (each.kind for each in _diagnosed(operation.snapshots))
    return ", ".join(kind.in_short for kind in found if half or kind is FindingKind.LOSS_ROSE)


def _diagnosed(snapshots: Sequence[Snapshot]) -> tuple[Finding, ...]:
    """What these steps give reason to warn of; nothing if a server sent losses whose sum no float can hold."""
    try:
        return diagnose(snapshots)
    except ArithmeticError:
        return ()
