"""Adjusts the numbers in a schema to what the compiler enforces exactly.

The compiler (llguidance) reads numbers as doubles and integers as 64-bit ones. It rounds larger numbers, so that
answers would not validate, and a range of integers below all 64-bit ones crashes the process. So bounds are tightened
to the next number that the compiler can represent, never loosened, and bounds for which that is impossible are
reported.
"""

import math
from collections.abc import Iterator
from typing import Any

LARGEST_BOUND = 2**63 - 1024
"""The largest magnitude of a bound or value: the largest double that fits into a signed 64-bit integer."""

SMALLEST = 1e-12
"""The minimum that replaces `exclusiveMinimum: 0`: if the upper bound is below 1, the compiler would allow zero."""

_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def is_number(value: Any) -> bool:
    """Whether a value of a JSON document is a finite number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def tighten_bounds(node: dict[str, Any]) -> None:
    """Replace bounds of one schema that the compiler cannot represent by tighter ones, in place."""
    for key in _LOWER:
        if is_number(node.get(key)):
            node[key] = max(-LARGEST_BOUND, _rounded_up(node[key]))
    for key in _UPPER:
        if is_number(node.get(key)):
            node[key] = min(LARGEST_BOUND, -_rounded_up(-node[key]))
    # A bound that is not a number stays, so that the compiler reports it.
    if is_number(node.get("minimum", 0)) and _is_zero(node.get("exclusiveMinimum")):
        del node["exclusiveMinimum"]
        node["minimum"] = max(SMALLEST, node.get("minimum", SMALLEST))
    if is_number(node.get("maximum", 0)) and _is_zero(node.get("exclusiveMaximum")):
        del node["exclusiveMaximum"]
        node["maximum"] = min(-SMALLEST, node.get("maximum", -SMALLEST))


def inexact_numbers(node: dict[str, Any]) -> Iterator[str]:
    """The members of one schema whose numbers the compiler cannot represent even when tightened.

    Each is a text: the member's name, a space, and its number.
    """
    for key in _LOWER:
        if is_number(node.get(key)) and node[key] > LARGEST_BOUND:
            yield f"{key} {node[key]}"
    for key in _UPPER:
        if is_number(node.get(key)) and node[key] < -LARGEST_BOUND:
            yield f"{key} {node[key]}"
    for key in ("const", "enum"):
        for value in _numbers_in(node.get(key)):
            if abs(value) > LARGEST_BOUND or float(value) != value:
                yield f"{key} {value}"


def _rounded_up(number: float) -> float:
    """The smallest double that is not below the number."""
    if abs(number) > LARGEST_BOUND or number == float(number):
        return number
    nearest = float(number)
    return int(nearest if nearest > number else math.nextafter(nearest, math.inf))


def _is_zero(value: Any) -> bool:
    return is_number(value) and value == 0


def _numbers_in(data: Any) -> Iterator[float]:
    if is_number(data):
        yield data
    elif isinstance(data, list):
        for each in data:
            yield from _numbers_in(each)
    elif isinstance(data, dict):
        yield from _numbers_in(list(data.values()))
