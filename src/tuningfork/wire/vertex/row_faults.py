"""What is wrong with a value in a row of a training file, and where, in sentences."""

from collections.abc import Callable
from typing import Any, TypeVar

_MOST_QUOTED = 40

_Read = TypeVar("_Read")


class Wrong(Exception):
    """What is wrong with a value; `place` leads to it from the value that is being read."""

    def __init__(self, reason: str, place: str = "") -> None:
        self.reason = reason
        self.place = place

    def below(self, name: str) -> "Wrong":
        """The same, seen from the value that has the one with the fault under this name."""
        return Wrong(self.reason, name + (f".{self.place}" if self.place[:1] not in ("", "[") else self.place))


def each(read: Callable[[Any], _Read], values: Any, name: str) -> list[_Read]:
    """Read the values of the list called `name`, and add the place to what is wrong with one.

    Raises:
        Wrong: it is no list, or a value of it cannot be read.

    """
    if not isinstance(values, list):
        raise Wrong(f"must be a list; {kind(values)} was given.", name)
    found: list[_Read] = []
    try:
        # Not a comprehension: how many were read is the place of the fault.
        for value in values:
            found.append(read(value))  # noqa: PERF401
    except Wrong as wrong:
        raise wrong.below(f"{name}[{len(found)}]") from wrong
    return found


def camel(name: str) -> str:
    """A field's name in camelCase, whichever spelling it has."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def quoted(name: str) -> str:
    """A name or a text in quotes, its beginning if it is long."""
    return repr(name if len(name) <= _MOST_QUOTED else f"{name[:_MOST_QUOTED]}...")


def kind(value: Any) -> str:
    """What a value is, as a message says it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds: dict[type, str] = {str: "a text", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return kinds[type(value)]
