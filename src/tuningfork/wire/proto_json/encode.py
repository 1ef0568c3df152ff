"""Fields to the JSON value that Google's services print for them (spec of proto3 JSON, canonical output).

Order by proto number, camelCase names, defaults left out unless the field has presence, 64-bit integers as strings,
floats in the fewest digits that give the same float32 again.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum as Enumeration
from enum import auto
from functools import cache
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
    for name, json_name, is_wanted, single, holds in _plan(message):
        value = fields.get(name)
        if value is None:
            continue
        if holds is _Holds.ONE:
            if is_wanted is None or is_wanted(value):
                printed[json_name] = single(value, enums_as_numbers)
        elif value:
            if holds is _Holds.LIST:
                printed[json_name] = [single(item, enums_as_numbers) for item in value]
            else:
                printed[json_name] = {key: single(item, enums_as_numbers) for key, item in value.items()}
    return printed


class _Holds(Enumeration):
    """How many values a field holds, and under what."""

    ONE = auto()
    LIST = auto()
    MAP = auto()


_Wanted = Callable[[Any], bool]
_Single = Callable[[Any, bool], Any]


@cache
def _plan(message: Message) -> tuple[tuple[str, str, _Wanted | None, _Single, _Holds], ...]:
    """What is done with each field, in order: its names, which values are printed (None: all), how, and how many."""
    return tuple(
        (
            field.name,
            field.json_name,
            None if field.has_presence else _is_no_default_of(field),
            _single_of(field),
            _Holds.MAP if field.keyed else _Holds.LIST if field.repeated else _Holds.ONE,
        )
        for field in message.in_order
        if field.rule is not Rule.INPUT_ONLY
    )


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


def _is_no_default_of(field: Field) -> _Wanted:
    kind = field.type
    if isinstance(kind, Enum):
        numbers = kind.numbers
        return lambda value: numbers[value] != 0
    return lambda value: value not in (0, "", b"") or (isinstance(value, float) and _is_minus_zero(value))


def _single_of(field: Field) -> _Single:
    kind = field.type
    if isinstance(kind, Message):
        return lambda value, enums_as_numbers: encode(kind, value, enums_as_numbers=enums_as_numbers)
    if isinstance(kind, Enum):
        numbers = kind.numbers
        return lambda value, enums_as_numbers: numbers[value] if enums_as_numbers else str(value)
    printer = _PRINTERS.get(kind)
    if printer is not None:
        return lambda value, _: printer(value)
    return _any


def _any(value: Typed, enums_as_numbers: bool) -> dict[str, Any]:
    return {
        "@type": value.message.type_url,
        **encode(value.message, value.fields, enums_as_numbers=enums_as_numbers),
    }


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
