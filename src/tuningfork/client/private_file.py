"""Writes a file with secrets, which only its user can read, whole or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write the file, in the place of one that is there. Its directory is made if it is missing.

    Raises:
        OSError: it cannot be written.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # Nobody else may read it even for the moment before a chmod.
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
