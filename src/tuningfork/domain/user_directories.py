"""A user's directories: where programs keep data and settings, by a variable or below the home directory.

Source: the XDG Base Directory Specification.
"""

import os
from pathlib import Path


class NoHomeDirectory(Exception):
    """This user has no known home directory, and no variable names another place; the message is a sentence."""


def default_data_directory() -> Path:
    """`$XDG_DATA_HOME/tuningfork`, or `~/.local/share/tuningfork` if that variable is not set.

    Raises:
        NoHomeDirectory: neither is known.

    """
    return _user_directory("XDG_DATA_HOME", "~/.local/share") / "tuningfork"


def settings_directory() -> Path:
    """`$XDG_CONFIG_HOME/tuningfork`, or `~/.config/tuningfork` if that variable is not set.

    Raises:
        NoHomeDirectory: neither is known.

    """
    return _user_directory("XDG_CONFIG_HOME", "~/.config") / "tuningfork"


def cache_directory() -> Path:
    """Where what can be made again is kept: `$XDG_CACHE_HOME/tuningfork`, or `~/.cache/tuningfork`.

    Raises:
        NoHomeDirectory: neither is known.

    """
    return _user_directory("XDG_CACHE_HOME", "~/.cache") / "tuningfork"


def below_home(path: str) -> Path:
    """The path, with the home directory in the place of a `~` that it begins with; as it is if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _user_directory(variable: str, usual: str) -> Path:
    try:
        return Path(os.environ.get(variable) or usual).expanduser()
    except RuntimeError as error:
        raise NoHomeDirectory(
            f"This user has no known home directory: HOME is not set. Set HOME or {variable}."
        ) from error
