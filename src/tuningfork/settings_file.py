"""Reads a file of settings (`--config`, `TUNINGFORK_CONFIG`), and says in sentences what is wrong with settings.

The file is TOML, and each of its keys is the name of a setting. Which settings there are is known from the class that
is passed in.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource

from tuningfork.domain.user_directories import below_home

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LIST_OF_SETTINGS = "docs/command-line.md"
"""The page that lists all settings."""

CONFIG = "config"
"""The setting that names the file."""

_PREFIX = "TUNINGFORK_"
_SHOWN_CHARACTERS = 80
_SECRET = ("database_url", "metrics_token")
"""Settings whose values are not repeated in errors, since they may contain a password."""

_PATH_OR_WORD = ("safety",)
_NAMED_PATHS = ("base_model",)


class SettingsFileError(ValueError):
    """A file of settings cannot be used; the message says which, where, and what to write instead."""


class SettingsFile(InitSettingsSource):
    """The values in the file that the option or the variable names; none if neither names one."""

    def __init__(self, settings_class: type[BaseSettings]) -> None:
        super().__init__(settings_class, {})

    def __call__(self) -> dict[str, Any]:
        """The values, by the names of the settings.

        Raises:
            SettingsFileError: the file cannot be read, or has a key that is no setting.

        """
        path = self.current_state.get(CONFIG)
        if path is None:
            return {}
        return InitSettingsSource(self.settings_cls, read_settings(Path(path), self.settings_cls.model_fields))()


def read_settings(path: Path, settings: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """The values in a file. Relative paths are relative to the file's directory.

    Args:
        path: the file.
        settings: every setting by its name.

    Raises:
        SettingsFileError: the file cannot be read, or has a key that is no setting.

    """
    text = _text(below_home(str(path)))
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsFileError(f"the settings file {path} is not valid TOML: {error}") from error
    allowed = [name for name in settings if name != CONFIG]
    unknown = [_unknown(key, value, text, allowed) for key, value in values.items() if key not in allowed]
    if unknown:
        raise SettingsFileError(
            f"the settings file {path} has keys that are no settings: {'; '.join(unknown)}. {LIST_OF_SETTINGS} lists "
            "all settings"
        )
    folder = below_home(str(path)).absolute().parent
    return {name: _beside(folder, name, value, settings[name]) for name, value in values.items()}


def faults_in_words(error: ValidationError, given: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """What is wrong with settings, each with the place that its value is from.

    Args:
        error: the error that the settings raised.
        given: the settings that were passed as options.
        environment: the environment variables.

    """
    file = given.get(CONFIG) or environment.get(f"{_PREFIX}{CONFIG.upper()}")
    return "; ".join(_fault(fault, given, environment, Path(file) if file else None) for fault in error.errors())


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A question with the known name that is most like this one, in brackets after a blank; "" if none is like it.

    Every name begins with the prefix, which is not compared.
    """
    stems = sorted(each.removeprefix(prefix) for each in known)
    found = difflib.get_close_matches(name.removeprefix(prefix), stems, n=1)
    return f" (did you mean {prefix}{found[0]}?)" if found else ""


def _text(path: Path) -> str:
    try:
        # Editors on Windows write a byte order mark, which TOML does not allow.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsFileError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsFileError(f"the settings file {path} is not in UTF-8; save it in this encoding") from error


def _unknown(key: str, value: object, text: str, allowed: list[str]) -> str:
    place = f"{_shown(key)}{_line(text, key)}"
    if key == CONFIG:
        return f"{place} is only an option and a variable"
    if isinstance(value, dict):
        return f"{place} is a table, but every setting is a key outside of tables"
    return f"{place}{nearest(key.lower().removeprefix(_PREFIX.lower()).replace('-', '_'), allowed)}"


def _line(text: str, key: str) -> str:
    found = re.search(rf"""^[ \t]*\[?["']?{re.escape(key)}["']?[ \t]*[\]=.]""", text, re.MULTILINE)
    return f" in line {text.count(chr(10), 0, found.start()) + 1}" if found else ""


def _beside(folder: Path, name: str, value: Any, field: FieldInfo) -> Any:
    if not isinstance(value, str) or not value:
        return [_named_beside(folder, each) for each in value] if _is_names(name, value) else value
    if name in _NAMED_PATHS:
        return [_named_beside(folder, each) for each in value.split()]
    if "Path" in str(field.annotation) or (name in _PATH_OR_WORD and (folder / value).is_file()):
        return str(folder / below_home(value))
    return value


def _is_names(name: str, value: object) -> bool:
    return name in _NAMED_PATHS and isinstance(value, list) and all(isinstance(each, str) for each in value)


def _named_beside(folder: Path, entry: str) -> str:
    """An entry NAME=PLACE; if the place is a directory beside the file, with its whole path."""
    name, separator, place = entry.partition("=")
    directory = folder / below_home(place)
    return f"{name}={directory}" if separator and place and directory.is_dir() else entry


def _fault(fault: "ErrorDetails", given: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> str:
    name, *rest = map(str, fault["loc"])
    name = name.removeprefix(_PREFIX).lower()
    value = fault.get("input")
    # Pydantic's prefix is removed from the messages of the settings' own validators.
    message = fault["msg"].removeprefix("Value error, ")
    # These name the value themselves.
    is_told = fault["type"] in ("value_error", "missing") or name in _SECRET
    told = "" if is_told else f"; {_shown(value)} was given"
    advice = " (Kubernetes sets this variable beside a Service: enableServiceLinks: false turns that off)"
    links = advice if isinstance(value, str) and value.startswith("tcp://") else ""
    return f"{'.'.join([name, *rest])}: {message}{told}{_place(name, given, environment, file)}{links}"


def _place(name: str, given: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> str:
    """Where the value of a setting is from, in brackets after a blank; "" for an option, which the reader has typed."""
    variable = f"{_PREFIX}{name.upper()}"
    # The command line passes the values of some variables on as options.
    if name in given and str(given[name]) != environment.get(variable):
        return ""
    if environment.get(variable):
        return f" (variable {variable})"
    if file is None:
        return ""
    try:
        found = _line(_text(below_home(str(file))), name)
    except SettingsFileError:
        return ""
    return f" ({file}{found.replace(' in', ',')})" if found else ""


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
