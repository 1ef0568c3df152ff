"""Reads what the small JSON files of a base model say of it: context length, sampling values."""

import json
from pathlib import Path
from typing import Any

from tuningfork.modeling.files.context_length import context_length_of

_MOST_BYTES = 4 * 2**20
"""The most bytes of a model's config.json and generation_config.json; they have some kilobytes."""

_MOST_CONTEXT_TOKENS = 2**31
_MOST = 1e6
_SAMPLING = ("temperature", "top_p", "top_k")


class Unreadable(ValueError):
    """A file of a base model cannot be read; the message names the file and says why."""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        Unreadable: the file holds none.

    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise Unreadable(f"{path.name} has more than {_MOST_BYTES} bytes, as no file of its kind has")
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise Unreadable(f"{path.name} has values nested more deeply than can be read") from error
    except ValueError as error:
        raise Unreadable(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{path.name} is no JSON object")
    return value


def context_length(config: dict[str, Any]) -> int | None:
    """The context length in tokens that a config.json gives; None if it gives none.

    Raises:
        Unreadable: it gives something that is no length.

    """
    try:
        context = context_length_of(config)
    except (AttributeError, TypeError, ValueError) as error:
        raise Unreadable("config.json does not give the context length as a number") from error
    if context is not None and not (type(context) is int and 0 < context <= _MOST_CONTEXT_TOKENS):
        raise Unreadable(f"config.json has max_position_embeddings = {str(context)[:40]}")
    return context


def sampling_values(config: dict[str, Any]) -> dict[str, float]:
    """The numbers among the values of a generation config that are used here."""
    given = {name: config.get(name) for name in _SAMPLING}
    return {name: value for name, value in given.items() if isinstance(value, int | float) and 0 <= value < _MOST}
