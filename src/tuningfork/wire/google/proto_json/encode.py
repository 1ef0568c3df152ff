"""Converts fields to the JSON value that Google's services print for them (proto3 JSON, canonical output).

Fields are in the order of their proto numbers, with camelCase names. Defaults are left out unless the field has
presence, 64-bit integers are strings, and floats have the fewest digits that give the same float32.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum as Enumeration
from enum import auto
from functools import cache
from itertools import chain
from typing import Any

from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.timestamps import format_timestamp


@dataclass(frozen=True, slots=True)
class Typed:
    """A message type with its fields: a whole answer, or the content of an Any."""

    message: Message
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PrintedChunk:
    """JSON objects of messages that never change, printed once for many answers.

    They hold numbers and texts without braces alone. `texts` remembers their indented text by how its lines begin.
    """

    objects: Sequence[dict[str, Any]]
    texts: dict[str, str] = field(default_factory=dict)


class PrintedList(list[dict[str, Any]]):
    """The objects of some chunks. May stand wherever the fields of a list of messages may."""

    def __init__(self, chunks: Sequence[PrintedChunk]) -> None:
        super().__init__(chain.from_iterable(chunk.objects for chunk in chunks))
        self.chunks = chunks


def encode(message: Message, fields: Mapping[str, Any], *, enums_as_numbers: bool = False) -> dict[str, Any]:
    """The JSON object of a message, ready for `text.write`.

    Args:
        message: the message's table.
        fields: values by snake_case names; None: unset. Enums are given by name, times as timezone-aware datetimes,
            messages as mappings, the content of an Any as `Typed`.
        enums_as_numbers: print enums as numbers, also in every Any (`alt=json;enum-encoding=int`).

    """
    printed: dict[str, Any] = {}
    for name, json_name, is_wanted, single, holds in _plan(message):
        value = fields.get(name)
        if value is None:
            continue
        if holds is _ONE:
            if is_wanted is None or is_wanted(value):
                printed[json_name] = single(value, enums_as_numbers)
        elif value:
            if type(value) is PrintedList:
                printed[json_name] = value
            elif holds is _LIST:
                printed[json_name] = [single(item, enums_as_numbers) for item in value]
            else:
                printed[json_name] = {key: single(item, enums_as_numbers) for key, item in value.items()}
    return printed


class _Holds(Enumeration):
    """Whether a field holds one value, a list or a map."""

    ONE = auto()
    LIST = auto()
    MAP = auto()


_ONE, _LIST = _Holds.ONE, _Holds.LIST

_Wanted = Callable[[Any], bool]
_Single = Callable[[Any, bool], Any]


@cache
def _plan(message: Message) -> tuple[tuple[str, str, _Wanted | None, _Single, _Holds], ...]:
    """How to print each field, in order.

    For each: its two names, which values are printed (None: all), the function that prints a value, and whether it is a
    list or a map.
    """
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

    Nine significant digits always distinguish float32 values, and a decimal number of six digits is never changed by
    float32. So the shortest text has 6, 7, 8 or 9 digits.
    """
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    try:
        (target,) = _unpack(_pack(number))
    except OverflowError:
        return "Infinity" if number > 0 else "-Infinity"
    short = None
    for digits in _FEWER_DIGITS:
        shorter = float(digits % target)
        if -_FLOAT_OVERFLOW < shorter < _FLOAT_OVERFLOW and _unpack(_pack(shorter))[0] == target:
            short = shorter
        elif math.frexp(target)[0] not in _POWER_OF_TWO:
            # The nearest decimal number of even fewer digits is not nearer.
            break
    if short is None:
        short = float(_MOST_DIGITS % target)
    return _without_point_zero(short)


_FLOAT32 = struct.Struct("<f")
_pack, _unpack = _FLOAT32.pack, _FLOAT32.unpack
_MOST_DIGITS, _FEWER_DIGITS = "%.9g", ("%.8g", "%.7g", "%.6g")
_POWER_OF_TWO = (0.5, -0.5)
"""The mantissas of powers of two. Their lower neighbours are nearer than their upper ones, so that a number above may
give such a float where a nearer one below does not."""

_FLOAT_OVERFLOW = 3.4028235677973366e38


def shortest_double(number: float) -> float | int | str:
    """A double as JSON prints it; Python's own repr is already the shortest."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    return _without_point_zero(number)


def _without_point_zero(number: float) -> float | int:
    # Beyond 2^53 an int would show more digits than the number has, and minus zero would lose its sign.
    return int(number) if number.is_integer() and abs(number) < 2**53 and not _is_minus_zero(number) else number


def _is_minus_zero(number: float) -> bool:
    return number == 0 and math.copysign(1, number) < 0


def _is_no_default_of(field: Field) -> _Wanted:
    kind = field.type
    if isinstance(kind, Enum):
        numbers = kind.numbers
        return lambda value: numbers[value] != 0
    return is_not_plus_zero if kind in (Kind.FLOAT, Kind.DOUBLE) else bool


def is_not_plus_zero(number: float) -> bool:
    """Whether a number is printed where 0 is the default: minus zero is."""
    return number != 0 or _is_minus_zero(number)


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
