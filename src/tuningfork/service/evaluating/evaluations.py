"""All use cases of evaluation runs, put together."""

from dataclasses import dataclass

from tuningfork.service.evaluating.beginning import Beginning
from tuningfork.service.evaluating.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """The use cases of whoever evaluates models."""

    beginning: Beginning
    reading: Reading
