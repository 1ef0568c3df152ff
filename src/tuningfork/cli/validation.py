"""What a run is validated with, and what is done about it, as the options of `tune` and `sweep` say."""

import re
from dataclasses import dataclass
from typing import Self

import typer

from tuningfork.domain.early_stopping import MAX_PATIENCE, EarlyStopping
from tuningfork.domain.held_out import LEAST_PERCENT, MOST_PERCENT

USUAL_PERCENT = 10.0
_PERCENT = re.compile(r"\s*(?P<number>\d{1,3}(?:\.\d{1,3})?)\s*%\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What a run is validated with: a file or a share of the examples, or neither; and what is done about it.

    `evaluate_every` None: the service chooses. `early_stopping` None: the run takes all its steps.
    """

    file: str | None = None
    held_out_percent: float | None = None
    evaluate_every: int | None = None
    keep_best: bool = False
    early_stopping: EarlyStopping | None = None

    @classmethod
    def of(cls, validation: str | None, *, evaluate_every: int | None, patience: int | None, keep_best: bool) -> Self:
        """What the options say. `patience` None: the run is not stopped early.

        Raises:
            typer.BadParameter: the share or the patience is out of bounds.

        """
        if patience is not None and not 1 <= patience <= MAX_PATIENCE:
            said = f"It must be a whole number from 1 to {MAX_PATIENCE}; {patience} was given."
            raise typer.BadParameter(said, param_hint="--patience")
        wants_one = patience is not None or keep_best or evaluate_every is not None
        share = _percent(validation)
        return cls(
            file=validation if share is None else None,
            held_out_percent=USUAL_PERCENT if validation is None and wants_one else share,
            evaluate_every=evaluate_every,
            keep_best=keep_best,
            early_stopping=None if patience is None else EarlyStopping(patience=patience),
        )


def _percent(text: str | None) -> float | None:
    """The share that a text such as 10% names; None: the text is the name of a file, or there is none."""
    found = None if text is None else _PERCENT.fullmatch(text)
    if found is None:
        return None
    share = float(found["number"])
    if not LEAST_PERCENT <= share <= MOST_PERCENT:
        said = f"A share must be from {LEAST_PERCENT:g}% to {MOST_PERCENT:g}%; {text} was given."
        raise typer.BadParameter(said, param_hint="--validation")
    return share
