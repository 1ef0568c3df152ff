"""What is still missing before a tuning can start."""

from dataclasses import dataclass

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.view.findings import Findings
from tuningfork.studio.view.staged_data import StagedData
from tuningfork.studio.view.tuning_settings import TypedSettings

STEPS = ("data", "columns", "check", "settings", "start")
"""The steps of making a tuned model, in order."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is missing, in a few words that fit on a button, and the step where it is done."""

    text: str
    step: str


def missing_of(
    data: StagedData, findings: Findings | None, settings: TypedSettings, refused: str, texts: Texts
) -> tuple[Missing, ...]:
    """Everything that is missing, what comes first first.

    Args:
        data: the data set.
        findings: of its check; None: it could not be checked.
        settings: what is typed.
        refused: why the API has refused to estimate this tuning; "": it has not.
        texts: the words.

    """
    missing = []
    if not data.row_count:
        missing.append(Missing(texts("create.missing.rows"), "check"))
    if not data.has_columns:
        missing.append(Missing(texts("create.missing.columns"), "columns"))
    elif findings is not None and findings.errors and data.row_count:
        missing.append(Missing(texts("create.missing.errors", count=findings.errors), "check"))
    if not settings["source"]:
        missing.append(Missing(texts("create.missing.source"), "settings"))
    if settings.not_numbers() or (refused and not missing):
        missing.append(Missing(texts("create.missing.settings"), "settings"))
    return tuple(missing)
