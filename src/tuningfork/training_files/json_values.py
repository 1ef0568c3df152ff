"""Text to JSON values, each with its place: one value, one a line, or one behind the other, as people write them.

A file's name does not decide which of these it is: lists stand in files called *.jsonl, a record a line in *.json.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tuningfork.training_files.bounds import FEWER, MAX_ROWS, MAX_VALUES
from tuningfork.training_files.faults import Fault
from tuningfork.training_files.table import FaultsSoFar, NoText, Unreadable

TOP = "at its top"


class Written(str):
    """A number as the file writes it: no digit is lost or added on its way to text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A value and where it begins, such as "line 7"."""

    place: str
    value: Any


def values(text: str) -> tuple[list[Placed], tuple[Fault, ...]]:
    """All values of a text, and a fault for each line that is none, where there is a value a line.

    Raises:
        Unreadable: it is not JSON at all, or too much of it.

    """
    if sum(text.count(mark) for mark in "[{,") > MAX_VALUES:
        raise Unreadable(Fault(problem=f"more than {MAX_VALUES:,} values, which are not read.", advice=FEWER))
    try:
        return list(_one_behind_the_other(text)), ()
    except (json.JSONDecodeError, RecursionError) as error:
        if not _has_a_value_a_line(text):
            raise Unreadable(_fault(error)) from error
    return _by_lines(text)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    # Only LF and CRLF end a line: JSON strings may hold other line separators as they are.
    for number, line in enumerate(_LINE.finditer(text), start=1):
        if stripped := line[0].strip():
            yield f"line {number}", stripped


def _has_a_value_a_line(text: str) -> bool:
    """Whether one of the first two lines is a whole value, and there are two."""
    first_two = [line for _, line in islice(_lines(text), 2)]
    return len(first_two) == 2 and any(map(_is_record, first_two))


def _is_record(line: str) -> bool:
    try:
        return line[0] in "{[" and json.loads(line, parse_int=Written, parse_float=Written) is not None
    except (ValueError, RecursionError):
        return False


def _by_lines(text: str) -> tuple[list[Placed], tuple[Fault, ...]]:
    found: list[Placed] = []
    faults = FaultsSoFar()
    for place, line in _lines(text):
        try:
            found.append(Placed(place, _decoder().decode(line)))
        except (json.JSONDecodeError, RecursionError) as error:
            faults.add(_fault(error, place))
        _check_count(len(found))
    return found, faults.found


def _one_behind_the_other(text: str) -> Iterator[Placed]:
    decoder, line, counted, found = _decoder(), 1, 0, 0
    at = _end_of(_BLANK, text, 0)
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        value, end = decoder.raw_decode(text, at)
        yield Placed(f"line {line}", value)
        found += 1
        _check_count(found)
        at = _end_of(_GAP, text, end)


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_BLANK = re.compile(r"\s*")
# Values that were cut out of a list still have their commas.
_GAP = re.compile(r"[\s,]*")


def _check_count(count: int) -> None:
    if count > MAX_ROWS:
        raise Unreadable(Fault(problem=f"more than {MAX_ROWS:,} records, which are not read.", advice=FEWER))


def _decoder() -> json.JSONDecoder:
    def refuse(name: str) -> object:
        return NoText(kind=f"the number {name}")

    return json.JSONDecoder(parse_int=Written, parse_float=Written, parse_constant=refuse)


def _fault(error: json.JSONDecodeError | RecursionError, place: str = "") -> Fault:
    """Why a text is no JSON; a line is known by its place, else by where in the text it is."""
    if isinstance(error, RecursionError):
        return Fault(place=place or TOP, problem="nested too deep for a list of examples.")
    problem = f"not valid JSON: {error.msg} (character {error.colno})."
    return Fault(place=place or f"line {error.lineno}", problem=problem)


_KINDS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (NoText, lambda value: str(value.kind)),
    (Written, lambda value: f"the number {_short(value)}"),
    (str, lambda _: "a string"),
    (bool, lambda _: "true or false"),
    ((int, float), lambda value: f"the number {_short(value)}"),
    (Mapping, lambda _: "an object"),
    (Sequence, lambda value: f"a list of {len(value)}"),
    (type(None), lambda _: "null"),
)


def kind(value: object) -> str:
    """What a value is, as a message says it, such as "a list of 3"."""
    return next((tell(value) for type_, tell in _KINDS if isinstance(value, type_)), f"a {type(value).__name__}")


def _short(number: object) -> str:
    text = str(number)
    return text if len(text) <= 40 else f"{text[:40]}..."
