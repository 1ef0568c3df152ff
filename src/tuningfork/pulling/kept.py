"""The base models in a server's data directory: `bases/NAME`, each with the model's files and a description."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
"""What a fetched base model may be called."""

_DESCRIPTION = "tuningfork-base.json"
_VERSION = 1
_MOST_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBase:
    """A base model that was fetched.

    Attributes:
        name: its public name without `models/`.
        display_name: its name in lists.
        description: what it is.
        hub_id: the repository on the Hub that its weights come from; "": not known.
        licence: the name of its licence; "": not known.
        source: where the files came from, for people.
        aliases: further public names.

    """

    name: str
    display_name: str = ""
    description: str = ""
    hub_id: str = ""
    licence: str = ""
    source: str = ""
    aliases: tuple[str, ...] = ()


def bases_below(data_directory: Path) -> Path:
    """The directory of all fetched base models."""
    return data_directory / "bases"


def write_description(directory: Path, base: KeptBase) -> None:
    """Write the description into the directory of the base model's files."""
    text = json.dumps({"version": _VERSION, **asdict(base)}, indent=2) + "\n"
    (directory / _DESCRIPTION).write_text(text, encoding="utf-8")


def kept_bases(data_directory: Path) -> dict[Path, KeptBase]:
    """The fetched base models of a data directory by the directories of their files, in the order of their names.

    A directory without a description that can be read is left out, and the log says so.
    """
    found = {}
    above = bases_below(data_directory)
    for directory in sorted(above.iterdir()) if above.is_dir() else ():
        if not NAME.fullmatch(directory.name) or not directory.is_dir():
            continue
        try:
            found[directory] = _read(directory)
        except (OSError, ValueError, TypeError) as error:
            logger.error(  # noqa: TRY400
                "%s is left out of the base models: its %s cannot be used (%s); fetch it again with `tuningfork pull`",
                directory,
                _DESCRIPTION,
                error,
                extra={"action": "base_unreadable"},
            )
    return found


def _read(directory: Path) -> KeptBase:
    with (directory / _DESCRIPTION).open("rb") as file:
        values = json.loads(file.read(_MOST_BYTES))
    if not isinstance(values, Mapping) or values.get("version") != _VERSION:
        raise ValueError(f"it is not of version {_VERSION}")
    known = {field.name: values[field.name] for field in fields(KeptBase) if field.name in values}
    aliases = known.pop("aliases", [])
    if not all(isinstance(value, str) for value in (*known.values(), *aliases)):
        raise ValueError("a value is no text")
    return KeptBase(**_texts(known) | {"name": directory.name}, aliases=tuple(aliases))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
