"""Numbers in a schema, made such that the compiler keeps to them.

It (llguidance) reads numbers as doubles and counts integers in 64 bits: further ones are rounded, so that answers would
not validate, and a range of integers below all of those ends the process. So bounds are tightened to the next number
that it keeps, never loosened, and what cannot be kept is told.
"""

import math
from collections.abc import Iterator
from typing import Any

FARTHEST = 2**63 - 1024
"""The last double whose digits 64 bits hold; so far from zero may a bound or a value be."""

SMALLEST = 1e-12
"""What counts as above zero, for `exclusiveMinimum: 0`. Beside an upper bound below 1 the compiler allows zero too."""

_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def is_number(value: Any) -> bool:
    """Whether a value of a JSON document is a finite number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def tighten_bounds(node: dict[str, Any]) -> None:
    """Put bounds that can be kept in the place of those of one schema that cannot; no other answers are let in."""
    for key in _LOWER:
        if is_number(node.get(key)):
            node[key] = max(-FARTHEST, _rounded_up(node[key]))
    for key in _UPPER:
        if is_number(node.get(key)):
            node[key] = min(FARTHEST, -_rounded_up(-node[key]))
    # What is no number stays, so that the compiler says so.
    if is_number(node.get("minimum", 0)) and _is_zero(node.get("exclusiveMinimum")):
        del node["exclusiveMinimum"]
        node["minimum"] = max(SMALLEST, node.get("minimum", SMALLEST))
    if is_number(node.get("maximum", 0)) and _is_zero(node.get("exclusiveMaximum")):
        del node["exclusiveMaximum"]
        node["maximum"] = min(-SMALLEST, node.get("maximum", -SMALLEST))


def beyond_reach(node: dict[str, Any]) -> Iterator[str]:
    """What one schema asks for that no tightening helps, as `member number`."""
    for key in _LOWER:
        if is_number(node.get(key)) and node[key] > FARTHEST:
            yield f"{key} {node[key]}"
    for key in _UPPER:
        if is_number(node.get(key)) and node[key] < -FARTHEST:
            yield f"{key} {node[key]}"
    for key in ("const", "enum"):
        for value in _numbers_in(node.get(key)):
            if abs(value) > FARTHEST or float(value) != value:
                yield f"{key} {value}"


def _rounded_up(number: float) -> float:
    """The number, or the next double above an integer that is none."""
    if abs(number) > FARTHEST or number == float(number):
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
