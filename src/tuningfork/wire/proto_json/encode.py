"""Fields to the JSON value that Google's services print for them (spec of proto3 JSON, canonical output).

Order by proto number, camelCase names, defaults left out unless the field has presence, 64-bit integers as strings,
floats in the fewest digits that give the same float32 again.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.wire.proto_json.descriptors import Enum, Field, Kind, Message, Rule
from tuningfork.wire.proto_json.timestamps import format_timestamp


@dataclass(frozen=True, slots=True)
class Typed:
    """A message with its fields: a whole answer, or what an Any holds."""

    message: Message
    fields: Mapping[str, Any]


def encode(message: Message, fields: Mapping[str, Any], *, enums_as_numbers: bool = False) -> dict[str, Any]:
    """The JSON object of a message, ready for `text.write`.

    Args:
        message: the table to follow.
        fields: snake_case names to values; None is unset. Enums are given by name, times as aware datetimes,
            sub-messages as mappings, the content of an Any as `Typed`.
        enums_as_numbers: the dialect of `alt=json;enum-encoding=int`, which also reaches into every Any.

    """
    printed: dict[str, Any] = {}
    for field in message.in_order:
        value = fields.get(field.name)
        if value is None or field.rule is Rule.INPUT_ONLY:
            continue
        if field.keyed:
            if value:
                printed[field.json_name] = {key: _single(field, item, enums_as_numbers) for key, item in value.items()}
        elif field.repeated:
            if value:
                printed[field.json_name] = [_single(field, item, enums_as_numbers) for item in value]
        elif field.has_presence or not _is_default(field, value):
            printed[field.json_name] = _single(field, value, enums_as_numbers)
    return printed


def shortest_float(number: float) -> float | int | str:
    """A float32 as JSON prints it: `1`, `0.95`, `1.402067`, `"NaN"`.

    Nine significant digits always tell float32 values apart, and six always survive the way there and back, so one
    of 6, 7, 8 and 9 is the shortest.
    """
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    try:
        target = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return "Infinity" if number > 0 else "-Infinity"
    for digits in (6, 7, 8, 9):
        short = float(f"{target:.{digits}g}")
        if abs(short) < _FLOAT_OVERFLOW and struct.unpack("<f", struct.pack("<f", short))[0] == target:
            break
    return _without_point_zero(short)


_FLOAT_OVERFLOW = 3.4028235677973366e38


def shortest_double(number: float) -> float | int | str:
    """A double as JSON prints it; Python's own repr is already the shortest."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    return _without_point_zero(number)


def _without_point_zero(number: float) -> float | int:
    # Beyond 2^53 an int would show digits that the number does not have, and minus zero would lose its sign.
    return int(number) if number.is_integer() and abs(number) < 2**53 and not _is_minus_zero(number) else number


def _is_minus_zero(number: float) -> bool:
    return number == 0 and math.copysign(1, number) < 0


def _is_default(field: Field, value: Any) -> bool:
    if isinstance(field.type, Enum):
        return field.type.numbers[value] == 0
    return value in (0, "", b"") and not (isinstance(value, float) and _is_minus_zero(value))


def _single(field: Field, value: Any, enums_as_numbers: bool) -> Any:
    kind = field.type
    if isinstance(kind, Kind):
        if isinstance(value, Typed):
            inner = encode(value.message, value.fields, enums_as_numbers=enums_as_numbers)
            return {"@type": value.message.type_url, **inner}
        return _PRINTERS[kind](value)
    if isinstance(kind, Message):
        return encode(kind, value, enums_as_numbers=enums_as_numbers)
    return kind.numbers[value] if enums_as_numbers else str(value)


def _as_it_is(value: Any) -> Any:
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_PRINTERS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.STRING: _as_it_is,
    Kind.BOOL: _as_it_is,
    Kind.INT32: _as_it_is,
    Kind.INT64: str,
    Kind.FLOAT: shortest_float,
    Kind.DOUBLE: shortest_double,
    Kind.BYTES: _base64,
    Kind.TIMESTAMP: format_timestamp,
    Kind.JSON: _as_it_is,
}
