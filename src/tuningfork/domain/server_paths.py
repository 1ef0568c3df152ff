"""Leaves the server's directories out of sentences that callers read."""

import re
from pathlib import Path

from tuningfork.domain.base_model import EMBEDDED, BaseModel

_DIRECTORIES = re.compile(r"(?<![\w:/.<])/(?:[\w.@+~-]+/)+")
"""Those of an absolute path. No part of an address (`https://host/a/b`), of a name (`models/a`), or of a mark-up."""


def without_directories(text: str) -> str:
    """The text with the last name of each absolute path in place of the path."""
    return _DIRECTORIES.sub("", text)


def without_location(text: str, base: BaseModel) -> str:
    """The text with the base's public name in place of its directory, and without other directories."""
    if base.location != EMBEDDED and Path(base.location).is_absolute():
        # As the catalog has it, and as Python writes it: without a slash at the end.
        for location in (base.location, str(Path(base.location))):
            text = text.replace(location, base.name)
    return without_directories(text)
