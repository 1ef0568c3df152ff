"""What a tuning would take, as far as the server knows. None: it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The answer to `:estimate`, or why there is none.

    `refused`: the server's words; "": it has not refused. `about`: the field of the form that they are about; "": none.
    `pending`: it is not ready yet. `used`: the settings with which it would train, by the names of the form.
    """

    example_count: int | None = None
    held_out_count: int | None = None
    step_count: int | None = None
    token_count: int | None = None
    seconds: float | None = None
    jobs_ahead: int | None = None
    wait_seconds: float | None = None
    used: Mapping[str, float] = field(default_factory=dict)
    refused: str = ""
    about: str = ""
    pending: bool = False


def estimate_in(found: Json) -> Estimate:
    """An estimate as the API writes it."""
    used = {**found.get("hyperparameters", {}), "adapterRank": found.get("adapterRank")}
    return Estimate(
        example_count=_whole(found.get("exampleCount")),
        held_out_count=_whole(found.get("validationExampleCount")),
        step_count=_whole(found.get("totalSteps")),
        token_count=_whole(found.get("totalTokenCount")),
        seconds=_number(found.get("seconds")),
        jobs_ahead=_whole(found.get("jobsAhead")),
        wait_seconds=_number(found.get("waitSeconds")),
        used={name: value for name, given in used.items() if (value := _number(given)) is not None},
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    """A whole number, which JSON of this API may write as a text."""
    return int(value) if isinstance(value, int | float | str) else None
