"""Which settings of a request the models of the playground do not take, so that its form says so beforehand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What all models take together.

    `json_refused_by` and `system_refused_by` are the titles of those that take no JSON format, and no system
    instruction. `max_temperature` and `max_tokens` are the lowest limits; None: no limit is known.
    """

    json_refused_by: tuple[str, ...] = ()
    system_refused_by: tuple[str, ...] = ()
    max_temperature: float | None = None
    max_tokens: int | None = None


def answer_limits(models: Iterable[tuple[str, str]], told: Mapping[str, Any]) -> AnswerLimits:
    """The limits of some models together.

    Args:
        models: the title and the base model of each.
        told: the API's list of the limits of base models. A base that is not in it has no known limits.

    """
    limits = {each["name"]: each for each in told.get("models", ())}
    known = [(title, limits[base]) for title, base in models if base in limits]
    temperatures = [float(each["maxTemperature"]) for _, each in known if "maxTemperature" in each]
    tokens = [int(each["outputTokenLimit"]) for _, each in known if "outputTokenLimit" in each]
    return AnswerLimits(
        json_refused_by=tuple(title for title, each in known if each.get("jsonMode") is False),
        system_refused_by=tuple(title for title, each in known if each.get("systemInstruction") is False),
        max_temperature=min(temperatures, default=None),
        max_tokens=min(tokens, default=None),
    )
