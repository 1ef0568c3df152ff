"""Converts single JSON values to single proto values, with one plain function for each type.

The rules are those of the proto3 JSON mapping (protobuf.dev/programming-guides/json): numbers may come as strings,
enums by name or number, 64-bit integers as numbers or strings. Each function raises ValueError for a value that its
type cannot have. If the ValueError has a text, the error message shows that text instead of the value.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tuningfork.wire.google.proto_json.descriptors import Enum, Kind
from tuningfork.wire.google.proto_json.timestamps import parse_timestamp

# The largest double that still rounds to a finite float: half a unit in the last place above FLT_MAX.
_FLOAT_LIMIT = 3.4028235677973366e38
_INTEGER = re.compile(r"-?[0-9]{1,40}")
_DECIMAL = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,1000})?([eE][+-]?[0-9]{1,5})?")
_NAMED_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_SHOWN_CHARACTERS = 100


def shown(value: Any) -> str:
    """A value as error messages show it: shortened JSON."""
    text = json.dumps(value[:_SHOWN_CHARACTERS] if isinstance(value, str) else value, ensure_ascii=False)
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f'{text[:-1]}..."'
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def parse_enum(enum: Enum, value: Any) -> str:
    """The name of an enum value given by name (in any case), by number, or by number in a string."""
    if isinstance(value, str):
        if value in enum.numbers:
            return value
        if value.upper() in enum.numbers:
            return value.upper()
    number = _integer(value, -(2**31), 2**31 - 1)
    for name, known in enum.numbers.items():
        if known == number:
            return name
    raise ValueError


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one exception for "not a value of this type"
    return value


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError


def _integer(value: Any, least: int, most: int) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    elif isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = _whole(float(value))
    elif isinstance(value, float):
        number = _whole(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError
    if not least <= number <= most:
        raise ValueError
    return number


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError
    return int(number)


def _int32(value: Any) -> int:
    return _integer(value, -(2**31), 2**31 - 1)


def _int64(value: Any) -> int:
    return _integer(value, -(2**63), 2**63 - 1)


def _double(value: Any) -> float:
    if isinstance(value, str):
        if value in _NAMED_FLOATS:
            return _NAMED_FLOATS[value]
        if not _DECIMAL.fullmatch(value):
            raise ValueError
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError  # noqa: TRY004 - one exception for "not a value of this type"
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError from error
    if math.isinf(number):
        raise ValueError
    return number


def _float(value: Any) -> float:
    number = _double(value)
    if math.isfinite(number) and abs(number) >= _FLOAT_LIMIT:
        raise ValueError
    return number


def _bytes(value: Any) -> bytes:
    text = _string(value)
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"Base64 decoding failed for {shown(text)}") from error


def _timestamp(value: Any) -> datetime:
    return parse_timestamp(_string(value))


def _field_mask(value: Any) -> tuple[str, ...]:
    """The paths of a mask as they are spelled; which fields they name depends on the message that they are for."""
    return tuple(path for each in _string(value).split(",") if (path := each.strip()))


def _json(value: Any) -> Any:
    return value


SCALARS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.STRING: _string,
    Kind.BOOL: _bool,
    Kind.INT32: _int32,
    Kind.INT64: _int64,
    Kind.FLOAT: _float,
    Kind.DOUBLE: _double,
    Kind.BYTES: _bytes,
    Kind.TIMESTAMP: _timestamp,
    Kind.FIELD_MASK: _field_mask,
    Kind.ANY: _json,
    Kind.JSON: _json,
}
"""The parser of each scalar kind."""
