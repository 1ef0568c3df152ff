"""The configuration of an evaluation, which is stored and shown, and evaluates nothing."""

from typing import Any

from tuningfork.wire.vertex.row_faults import camel

_FREE = ("parameters",)
"""Fields whose values are JSON of the caller's own, with names of their own."""


def shown_config(value: Any) -> Any:
    """A caller's value as the API shows it: its names are in camelCase, and what is null is left out.

    google-genai for Python sends names in snake_case below `evaluationConfig`, and null for each kind that a metric is
    not of.
    """
    if isinstance(value, list):
        return [shown_config(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {camel(name): item for name, item in value.items() if item is not None}
    return {name: item if name in _FREE else shown_config(item) for name, item in named.items()}
