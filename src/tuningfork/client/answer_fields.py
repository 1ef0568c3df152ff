"""Values out of an answer's JSON, each of the type that the dialect says, or an error that the caller translates.

Names are printed as they are, for other programs, so they may hold nothing that moves a terminal's cursor.
"""

import re
from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

Json = Mapping[str, Any]

_NAME = re.compile(r"[!-~]{1,400}")
"""Visible characters of ASCII, without blanks."""
_TOKEN = re.compile(r"[!-~]{1,8192}")
"""The same; a signed token holds names, scopes and a signature, and is longer than any name."""
_DIGITS = re.compile(r"[0-9]{1,19}")
_MOST = 2**63


def text(answer: Json, key: str, default: str | None = None) -> str:
    """A text, of any content.

    Raises:
        KeyError: it is missing, and there is no default.
        TypeError: it is no text.

    """
    value = answer[key] if default is None else answer.get(key, default)
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value


def name(answer: Json, key: str, default: str | None = None) -> str:
    """A resource's name or a state: visible characters of ASCII alone. The default may be anything.

    Raises:
        KeyError: it is missing, and there is no default.
        TypeError, ValueError: it is no such text.

    """
    value = text(answer, key, default)
    if value != default and not _NAME.fullmatch(value):
        raise ValueError(f"{key} has characters that no name has")
    return value


def token(answer: Json, key: str) -> str:
    """An access token: visible characters of ASCII alone, more of them than a name has.

    Raises:
        KeyError: it is missing.
        TypeError, ValueError: it is no such text.

    """
    value = text(answer, key)
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{key} has characters that no token has")
    return value


def whole(answer: Json, key: str, default: int | None = None) -> int:
    """A whole number of at most 63 bits.

    Raises:
        KeyError: it is missing, and there is no default.
        TypeError, ValueError: it is no such number.

    """
    value = answer[key] if default is None else answer.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{key} is no whole number")
    if not -_MOST <= value < _MOST:
        raise ValueError(f"{key} is too large")
    return value


def count(answer: Json, key: str) -> int:
    """A number of things, from 0; 0 if it is missing. proto3's JSON mapping writes one of 64 bits as a text.

    Raises:
        TypeError, ValueError: it is no such number.

    """
    value = answer.get(key, 0)
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError(f"{key} is no whole number")
    found = whole({key: int(value) if isinstance(value, str) else value}, key)
    if found < 0:
        raise ValueError(f"{key} is below 0")
    return found


def number(answer: Json, key: str, default: float | None = None) -> float:
    """A number; proto3's JSON mapping writes NaN and infinities as texts.

    Raises:
        KeyError: it is missing, and there is no default.
        TypeError, ValueError, OverflowError: it is no number.

    """
    value = answer[key] if default is None else answer.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{key} is no number")
    return float(value)


def flag(answer: Json, key: str) -> bool:
    """True or false; false if it is missing.

    Raises:
        TypeError: it is neither.

    """
    value = answer.get(key, False)
    if not isinstance(value, bool):
        raise TypeError(f"{key} is neither true nor false")
    return value


def time(answer: Json, key: str) -> datetime:
    """A point in time, aware and in UTC.

    Raises:
        KeyError: it is missing.
        TypeError, ValueError, OverflowError: it is none, or lies outside of what every time zone can show.

    """
    value = datetime.fromisoformat(text(answer, key)).astimezone(UTC)
    if not MINYEAR < value.year < MAXYEAR:
        raise ValueError(f"{key} lies too far away")
    return value


def objects(answer: Json, key: str) -> list[Json]:
    """A list of objects; empty if it is missing.

    Raises:
        TypeError: it is no list, or holds anything else.

    """
    value = answer.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise TypeError(f"{key} is no list of objects")
    return value


def inner(answer: Json, key: str) -> Json:
    """An object; empty if it is missing.

    Raises:
        TypeError: it is none.

    """
    value = answer.get(key, {})
    if not isinstance(value, Mapping):
        raise TypeError(f"{key} is no object")
    return value
