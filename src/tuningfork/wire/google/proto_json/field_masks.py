"""Partial responses: selects the fields of an answer that `fields` or the `X-Goog-FieldMask` header names.

The forms `tunedModels(name,state),nextPageToken`, `tunedModels/name`, `tuned_models.name` and `*` are accepted, with
names in camelCase or snake_case.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, lower_camel
from tuningfork.wire.google.proto_json.scalars import shown

MAX_MASK_CHARACTERS = 4_096
_SYMBOL = re.compile(r"\s*([A-Za-z_@*][A-Za-z0-9_]*|[(),/.])\s*")
_PUNCTUATION = ("(", ")", ",", "/", ".")


@dataclass(slots=True)
class FieldMask:
    """The wanted fields, by name, each with the mask of its own fields; an empty mask selects the whole field."""

    children: dict[str, "FieldMask"] = field(default_factory=dict)

    def child(self, name: str) -> "FieldMask":
        """The mask of this field, created if it does not exist."""
        return self.children.setdefault(name, FieldMask())

    def wants(self, path: Sequence[str]) -> bool:
        """Whether any of the field at this path, in snake_case, is wanted."""
        at = self
        for name in path:
            if not at.children or "*" in at.children:
                return True
            below = at.children.get(name) or at.children.get(lower_camel(name))
            if below is None:
                return False
            at = below
        return True

    def select(self, message: Message, value: dict[str, Any]) -> dict[str, Any]:
        """The wanted part of a message's JSON object.

        Raises:
            InvalidArgument: the mask names a field that the message does not have.

        """
        return _select(self, message, value, "")


def parse_field_mask(text: str) -> FieldMask:
    """The mask that a caller wrote.

    Raises:
        InvalidArgument: the text is not a mask; the message shows the two forms.

    """
    mask = FieldMask()
    open_brackets = [mask]
    at = mask
    name_is_due = True
    for symbol in _symbols(text):
        is_name = symbol not in _PUNCTUATION
        if is_name != name_is_due:
            raise _refused(text, f"{symbol!r} comes where {'a field name' if name_is_due else 'a separator'} is due")
        name_is_due = symbol in ("(", ",", "/", ".")
        if is_name:
            at = at.child(symbol)
        elif symbol == "(":
            open_brackets.append(at)
        elif symbol == ",":
            at = open_brackets[-1]
        elif symbol == ")":
            at = open_brackets.pop()
            if not open_brackets:
                raise _refused(text, "it closes a bracket that it did not open")
    if name_is_due or len(open_brackets) > 1:
        raise _refused(text, "it ends too early")
    return mask


def _symbols(text: str) -> Iterator[str]:
    if len(text) > MAX_MASK_CHARACTERS:
        raise _refused(text, f"it is longer than {MAX_MASK_CHARACTERS} characters")
    position = 0
    while position < len(text):
        match = _SYMBOL.match(text, position)
        if match is None:
            raise _refused(text, f"character {position + 1} cannot be part of one")
        yield match[1]
        position = match.end()


def _select(mask: FieldMask, message: Message, value: dict[str, Any], path: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name, below in mask.children.items():
        if name == "*":
            return value
        known = message.by_key.get(name)
        if known is None:
            raise _unknown(f"{path}{name}")
        wanted_part = _part(below, known, value.get(known.json_name), f"{path}{known.name}.")
        if known.json_name in value:
            wanted[known.json_name] = wanted_part
    return {name: wanted[name] for name in value if name in wanted}


def _part(mask: FieldMask, known: Field, value: Any, path: str) -> Any:
    if not mask.children:
        return value
    if isinstance(known.type, Message):
        # An absent value still has its mask checked, so that a wrong mask fails on the first call already.
        items = [
            _select(mask, known.type, item or {}, path) for item in (value if isinstance(value, list) else [value])
        ]
        return items if isinstance(value, list) else items[0]
    if known.type in (Kind.ANY, Kind.JSON):
        # The tables do not know the fields of such a value, so every name is accepted.
        names = {lower_camel(name) for name in mask.children} | {"@type"}
        whole = "*" in names or not isinstance(value, dict)
        return value if whole else {name: part for name, part in value.items() if name in names}
    raise _unknown(f"{path}{next(iter(mask.children))}")


def _unknown(path: str) -> InvalidArgument:
    sentence = f"Error expanding 'fields' parameter. Cannot find matching fields for path '{path[:200]}'."
    return InvalidArgument(sentence, violations=(FieldViolation(field="fields", description=sentence),))


def _refused(text: str, reason: str) -> InvalidArgument:
    sentence = (
        f"Invalid field mask {shown(text)}: {reason}. "
        "Write it as name,state or as tunedModels(name,state),nextPageToken."
    )
    return InvalidArgument(sentence, violations=(FieldViolation(field="fields", description=sentence),))
