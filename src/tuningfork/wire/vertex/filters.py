"""The filters of lists: conditions on fields, joined by AND, such as `labels.tune-type:* AND display_name="x"`.

Source: vertex-api sections 2.1 and 2.3; AIP-160. OR, NOT and parentheses are not served.
"""

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.proto_json.timestamps import parse_timestamp
from tuningfork.wire.google.requests import refused

MAX_FILTER_CHARACTERS = 2_000
_CONDITION = re.compile(
    r"\s*(?P<field>[A-Za-z_][\w.\-]*)\s*(?P<sign>>=|<=|!=|=|:|<|>)\s*"
    r'(?P<value>"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[^\s"\']+)\s*'
)
_AND = re.compile(r"AND\b\s*", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")
_UPPER = re.compile(r"(?<!^)(?=[A-Z])")
_LABELS = "labels."
_ANY = "*"
_TIME = "_time"
"""How the names of fields end that are times."""
_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a field's name in snake_case, or `labels.` and a key; the sign; and the value that it names.

    The value is a time where the field is one.
    """

    field: str
    sign: str
    value: str | datetime

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition holds of a resource with these values; a label or field that it lacks is None."""
        own = _value_of(values, self.field)
        if self.sign == ":" and self.value == _ANY:
            return own not in (None, "")
        if isinstance(self.value, datetime):
            # A resource without the time, as of an end that is still to come, is neither before nor after any.
            return self._compares(own, self.value) if own is not None else self.sign == "!="
        if self.sign == ":":
            return own is not None and self.value.casefold() in str(own).casefold()
        return self._compares("" if own is None else str(own), self.value)

    def _compares(self, own: Any, given: Any) -> bool:
        if self.sign in _ORDERED:
            return _ORDERED[self.sign](own, given)
        return bool((own != given) if self.sign == "!=" else (own == given))


def parse_filter(text: str, fields: Collection[str], request: str) -> tuple[Condition, ...]:
    """The conditions of a filter; empty for an empty one.

    Args:
        text: the filter. A `&filter=` in it joins two filters: google-genai 1.x does not write it as a parameter.
        fields: the names of fields, in snake_case, on which there may be conditions; besides those on labels.
        request: the request message's name, for errors.

    Raises:
        InvalidArgument: it is too long or cannot be read, names another field, or compares a time with what is none.

    """
    if len(text) > MAX_FILTER_CHARACTERS:
        raise _refused(f"filter must have at most {MAX_FILTER_CHARACTERS} characters; it has {len(text)}", request)
    return tuple(condition for each in text.split("&filter=") for condition in _parsed(each, fields, request))


def all_hold(conditions: Sequence[Condition], values: Mapping[str, Any]) -> bool:
    """Whether all conditions hold of a resource with these values."""
    return all(condition.holds(values) for condition in conditions)


def _parsed(text: str, fields: Collection[str], request: str) -> list[Condition]:
    conditions: list[Condition] = []
    rest = text.strip()
    while rest:
        found = _CONDITION.match(rest)
        if found is None:
            described = 'filter must be conditions such as labels.tune-type:* or display_name="x", joined by AND'
            raise _refused(f"{described}; {shown(rest)} is none", request)
        field, value = _field(found["field"], fields, request), _unquoted(found["value"])
        conditions.append(Condition(field, found["sign"], _read(field, value, request)))
        rest = rest[found.end() :]
        if rest and not (joined := _AND.match(rest)):
            raise _refused(f"conditions of a filter are joined by AND; {shown(rest)} follows one", request)
        if rest:
            rest = rest[joined.end() :] if joined else ""
            if not rest:
                raise _refused("a condition must follow AND", request)
    return conditions


def _field(name: str, fields: Collection[str], request: str) -> str:
    if name.startswith(_LABELS) and len(name) > len(_LABELS):
        return name
    snake = _UPPER.sub("_", name).lower()
    if snake not in fields:
        allowed = ", ".join([*fields, "labels.KEY"])
        raise _refused(f"filter may have conditions on {allowed}; {shown(name)} is none of them", request)
    return snake


def _read(field: str, value: str, request: str) -> str | datetime:
    """The value that a condition names: a time, if the field is one."""
    if field.startswith(_LABELS) or not field.endswith(_TIME) or value == _ANY:
        return value
    try:
        return parse_timestamp(value)
    except ValueError as error:
        described = f"{field} is compared with a time, such as 2025-01-01T00:00:00Z; not {shown(value)}"
        raise _refused(described, request) from error


def _value_of(values: Mapping[str, Any], field: str) -> Any:
    if field.startswith(_LABELS):
        return values.get("labels", {}).get(field.removeprefix(_LABELS))
    return values.get(field)


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value[0] in "\"'" else value


def _refused(description: str, request: str) -> InvalidArgument:
    return refused(request, (FieldViolation(field="filter", description=description),))
